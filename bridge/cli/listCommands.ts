import { access, constants, mkdir, statfs } from 'node:fs/promises'
import type { Engine } from '../engine'
import { checkRecords } from '../install/verify'
import { askInterpreter } from '../probe/interpreter'
import { oneLine } from '../probe/fingerprint'
import { shownVariables } from '../resolve/template'
import { packRoots, readIsolated, type Context } from '../serve/context'
import { PackService } from '../serve/packService'
import { Store } from '../state/store'
import { table, type Output } from './output'

export function infoCommand(engine: Engine, output: Output): number {
  const { fingerprint, target } = engine
  const variables = shownVariables(target)
  output.result({ fingerprint, variables }, () => {
    const rows = Object.entries(variables).map(([name, value]) => [`  {${name}}`, value])
    return [oneLine(fingerprint), `python: ${fingerprint.python.executable}`, `torch: ${fingerprint.torch?.source ?? 'none'}`, table(rows)].join('\n')
  })
  return 0
}

/** `comfy-env packs`: each node pack and its state. */
export async function packsCommand(engine: Engine, output: Output): Promise<number> {
  const host = { one_line: '', comfyui: null, home: '', uv: null, writable: true, problems: [], fingerprint: engine.fingerprint }
  const store = new Store(host, () => undefined)
  const isolated = await readIsolated(engine.settings.home)
  const context: Context = { engine, store, host: null, hostPacks: new Map(), isolated }
  await new PackService(context).rescan()
  const packs = [...store.packs.values()]
  const none = `No node packs found in ${packRoots(context).join(', ') || '(name a ComfyUI with --comfyui)'}.`
  output.result({ packs }, () => table(packs.map(({ id, state, reason }) => [id, state, reason])) || none)
  return 0
}

interface Check {
  id: string
  status: 'ok' | 'warn' | 'fail'
  message: string
  fix: string
}

async function envChecks(engine: Engine): Promise<Check[]> {
  const records = await engine.envs.list()
  return Promise.all(
    records.map(async (record): Promise<Check> => {
      const id = `env:${record.id}`
      const fix = `comfy-env install --pack <folder of ${record.pack}>`
      try {
        const { sites } = await askInterpreter(engine.envs.pythonOf(record))
        const wrong = await checkRecords(sites[0] ?? '')
        if (wrong.length === 0) return { id, status: 'ok', message: `${record.packages.length} packages, all as installed`, fix: '' }
        return { id, status: 'fail', message: `${wrong[0]} (${wrong.length} in all)`, fix }
      } catch {
        return { id, status: 'fail', message: 'its Python does not run', fix }
      }
    }),
  )
}

async function homeCheck(home: string): Promise<Check> {
  const fix = 'Choose another place with COMFY_ENV_HOME.'
  try {
    await mkdir(home, { recursive: true })
    await access(home, constants.W_OK)
    const { bavail, bsize } = await statfs(home)
    const free = bavail * bsize
    const gigabytes = `${(free / 1e9).toFixed(1)} GB free in ${home}`
    return { id: 'disk', status: free > 2e9 ? 'ok' : 'warn', message: gigabytes, fix: free > 2e9 ? '' : fix }
  } catch {
    return { id: 'disk', status: 'fail', message: `${home} cannot be written`, fix }
  }
}

/** `comfy-env doctor`: exit 1 if a check fails. */
export async function doctorCommand(engine: Engine, output: Output): Promise<number> {
  const { fingerprint, uv } = engine
  const version = await uv.version().catch(() => null)
  const checks: Check[] = [
    { id: 'python', status: 'ok', message: `${fingerprint.python.version} (${fingerprint.python.executable})`, fix: '' },
    fingerprint.torch
      ? { id: 'torch', status: 'ok', message: `${fingerprint.torch.version}, CUDA ${fingerprint.torch.cuda ?? 'none'}`, fix: '' }
      : { id: 'torch', status: 'warn', message: 'this Python has no torch', fix: 'Name ComfyUI’s Python with --interpreter.' },
    version === null
      ? { id: 'uv', status: 'fail', message: 'uv was not found', fix: 'python -m pip install uv' }
      : { id: 'uv', status: 'ok', message: version, fix: '' },
    await homeCheck(engine.settings.home),
    ...(await envChecks(engine)),
  ]
  output.result({ checks }, () => table(checks.map(({ id, status, message, fix }) => [status, id, message, fix])))
  return checks.some(({ status }) => status === 'fail') ? 1 : 0
}
