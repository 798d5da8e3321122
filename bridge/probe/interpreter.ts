import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { BridgeError } from '../errors/bridgeError'
import { run } from '../run'

/** What an interpreter says of itself. Nothing outside its standard library is imported to ask it. */
const Answer = z.object({
  version: z.string(),
  executable: z.string(),
  base: z.string(),
  free_threaded: z.boolean(),
  platform: z.string(),
  machine: z.string(),
  glibc: z.string().nullable(),
  sites: z.array(z.string()),
  in_venv: z.boolean(),
  /** Where installers put each kind of file. */
  scheme: z.object({ purelib: z.string(), platlib: z.string(), scripts: z.string(), headers: z.string(), data: z.string() }),
})
export type InterpreterFacts = z.infer<typeof Answer>
export type Scheme = InterpreterFacts['scheme']

const QUESTION = `
import json, os, platform, sys, sysconfig
name, version = platform.libc_ver()
paths = sysconfig.get_paths()
sites = [paths["purelib"], paths["platlib"]]
venv = sys.prefix != sys.base_prefix
# as pip and uv: a venv has no folder of its own in sysconfig
headers = os.path.join(sys.prefix, "include", "site", "python%d.%d" % sys.version_info[:2]) if venv else paths["include"]
print(json.dumps({
  "version": platform.python_version(), "executable": sys.executable, "base": getattr(sys, "_base_executable", sys.executable),
  "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
  "platform": sysconfig.get_platform(), "machine": platform.machine(),
  "glibc": version if name == "glibc" else None,
  "sites": sorted(set(sites)), "in_venv": venv,
  "scheme": {"headers": headers, **{kind: paths[kind] for kind in ("purelib", "platlib", "scripts", "data")}},
}))`

/** Asks the interpreter at `path`; -I: neither its environment variables nor its user's packages count. */
export async function askInterpreter(path: string): Promise<InterpreterFacts> {
  const { code, stdout, stderr } = await run(path, ['-I', '-c', QUESTION], 20_000)
  if (code !== 0) {
    const last = stderr.trim().split('\n').at(-1) ?? ''
    throw new BridgeError('PYTHON_NOT_FOUND', `\`${path}\` is not a Python that runs${last ? `: ${last}` : ''}.`)
  }
  return Answer.parse(JSON.parse(stdout))
}

/** The Python that ComfyUI in `root` runs on: its venv or the portable build's own; else the one on PATH. */
export function guessInterpreter(root: string | null): string {
  const windows = process.platform === 'win32'
  const inside = windows
    ? ['.venv/Scripts/python.exe', 'venv/Scripts/python.exe', '../python_embeded/python.exe']
    : ['.venv/bin/python', 'venv/bin/python']
  const found = root === null ? undefined : inside.map((path) => join(root, path)).find((path) => existsSync(path))
  return found ?? (windows ? 'python' : 'python3')
}
