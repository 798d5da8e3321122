import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type CliResult, type RunningCli, startComfyEnv } from './cli.ts'
import { treeHash } from './trees.ts'
import type { WheelIndex, WheelSpec } from './wheelIndex.ts'

/** The file by which folders of ours are known. */
export const MARK = '.comfyui-envmanager'

/** Labels of a wheel that fits the machine of the tests. */
export const LOCAL = { local: 'cputorch2.13', python: 'here', tag: 'here' }

/** Code of a module whose import, or of a script that, lasts as long as the file `GATE` is there. */
export const WAITS = `
import os, time
while os.path.exists(os.environ.get("GATE", "/nowhere")):
    time.sleep(0.01)
`

/** Two versions of a compiled and of an ordinary package, and one whose import waits. */
export const INSTALL_WHEELS: WheelSpec[] = [
  { name: 'ops', version: '1.0', ...LOCAL, files: 150 },
  { name: 'ops', version: '2.0', ...LOCAL, files: 150 },
  { name: 'plainly', version: '1.0', files: 150 },
  { name: 'plainly', version: '2.0', files: 150 },
  { name: 'waits', version: '1.0', ...LOCAL, code: WAITS },
]

/** Makes a pack that needs these wheels and packages; written over if it is there. Returns its folder. */
export function makeNeedyPack(folder: string, name: string, wheels: string[], packages: string[] = [], files: Record<string, string> = {}): string {
  const pack = join(folder, 'packs', name)
  mkdirSync(pack, { recursive: true })
  writeFileSync(join(pack, '__init__.py'), 'NODE_CLASS_MAPPINGS = {}\n')
  writeFileSync(join(pack, 'comfyui_env.toml'), `[packages]\nno_deps = ${JSON.stringify(wheels)}\nrequirements = ${JSON.stringify(packages)}\n`)
  for (const [file, text] of Object.entries(files)) writeFileSync(join(pack, file), text)
  return pack
}

export const errorOf = ({ json }: CliResult): { code: string; message: string } => (json as { error: { code: string; message: string } }).error

export async function succeeds({ ended }: RunningCli): Promise<void> {
  const { code, stdout, stderr } = await ended
  expect([code, code === 0 ? '' : `${stdout}\n${stderr}`]).toEqual([0, ''])
}

/** Installs below one folder, everything from one index: each test in a home of its own. */
export class Installs {
  constructor(
    readonly folder: string,
    readonly index: WheelIndex,
  ) {}

  home(name: string): string {
    return join(this.folder, name)
  }

  get settings(): Record<string, string> {
    return { COMFY_ENV_SOURCES: this.index.simple, COMFY_ENV_INDEX: this.index.simple, COMFY_ENV_CACHE: join(this.folder, 'cache') }
  }

  pack(name: string, wheels: string[], packages: string[] = [], files: Record<string, string> = {}): string {
    return makeNeedyPack(this.folder, name, wheels, packages, files)
  }

  start(pack: string, home: string, args: string[] = [], env: Record<string, string> = {}): RunningCli {
    return startComfyEnv(['install', '--pack', pack, '--home', this.home(home), '--json', ...args], { env: { ...this.settings, ...env } })
  }

  env(home: string, env: string): string {
    return join(this.home(home), 'envs', env)
  }

  record(home: string, env: string): { generation: number; previous: number | null } {
    return JSON.parse(readFileSync(join(this.env(home, env), 'env.json'), 'utf8')) as { generation: number; previous: number | null }
  }

  python(home: string, env: string): string {
    return join(this.env(home, env), `gen-${this.record(home, env).generation}`, 'bin', 'python')
  }

  site(home: string, env: string): string {
    const lib = join(this.env(home, env), `gen-${this.record(home, env).generation}`, 'lib')
    return join(lib, readdirSync(lib)[0] ?? '', 'site-packages')
  }

  /** What `ops` and `plainly` say of themselves in the env in use. */
  versions(home: string, env: string): string {
    return execFileSync(this.python(home, env), ['-c', 'import ops, plainly; print(ops.__version__, plainly.__version__)'], { encoding: 'utf8' }).trim()
  }

  /** Hash of what the env in use holds. */
  content(home: string, env: string): string {
    return treeHash(this.site(home, env))
  }

  /** Names in an env's folder that should be there: our mark, its record and the generations that it names. */
  kept(home: string, env: string): string[] {
    const { generation, previous } = this.record(home, env)
    return [MARK, 'env.json', `gen-${generation}`, ...(previous === null ? [] : [`gen-${previous}`])].sort()
  }
}
