import { runChecks } from '../doctor'
import type { Engine } from '../engine'
import { oneLine } from '../probe/fingerprint'
import { shownVariables } from '../resolve/template'
import { newContext, packRoots } from '../serve/context'
import { plainHost } from '../serve/hostInfo'
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
  const store = new Store(plainHost(engine), () => undefined)
  const context = await newContext(engine, store)
  await new PackService(context).rescan()
  const packs = [...store.packs.values()]
  const none = `No node packs found in ${packRoots(context).join(', ') || '(name a ComfyUI with --comfyui)'}.`
  output.result({ packs }, () => table(packs.map(({ id, state, reason }) => [id, state, reason])) || none)
  return 0
}

/** `comfy-env doctor`: exit 1 if a check fails. */
export async function doctorCommand(engine: Engine, output: Output): Promise<number> {
  const checks = await runChecks(engine)
  output.result({ checks }, () => table(checks.map(({ id, status, message, fix }) => [status, id, message, fix])))
  return checks.some(({ status }) => status === 'fail') ? 1 : 0
}
