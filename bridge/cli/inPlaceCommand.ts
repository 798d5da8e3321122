import type { Engine } from '../engine'
import { BridgeError } from '../errors/bridgeError'
import { installInPlace } from '../install/inPlace'
import { inHostTurn } from '../install/hostTurn'
import { besides } from '../install/restore'
import type { PackFolder } from '../packs/scan'
import { hostChanges, restoreHost } from '../serve/hostChanges'
import { interruptSignal } from './interrupt'
import { humanPlan } from './installCommand'
import { table, type Output, waitsFor } from './output'

/** `comfy-env install --in-place`: into ComfyUI's own environment; only with --yes, after the plan was seen. */
export async function inPlaceCommand(pack: PackFolder, dryRun: boolean, yes: boolean, engine: Engine, output: Output): Promise<number> {
  const signal = interruptSignal()
  const { home, cache } = engine.settings
  const { plan } = await engine.plan(pack, { inPlace: true }, output.note, signal)
  if (dryRun || !yes) {
    output.result({ plan }, () => humanPlan(plan))
    if (dryRun) return 0
    throw new BridgeError('BAD_USAGE', 'This changes ComfyUI’s own environment: look at the plan (--dry-run), then confirm with --yes.')
  }
  const [site = ''] = engine.hostSites
  const turn = { home, site, signal, onWait: waitsFor('ComfyUI’s own environment', output), tell: output.note }
  const snapshot = await inHostTurn(turn, async () => {
    const full = await engine.plan(pack, { inPlace: true }, () => undefined, signal)
    const reporter = { phase: (phase: string) => output.note(`— ${phase} —`), log: output.note }
    return installInPlace({ full, home, cache, interpreter: engine.interpreter, site, uv: engine.uv, http: engine.http, reporter, signal })
  })
  output.result({ plan, snapshot: snapshot.id }, () => `${humanPlan(plan)}\nsnapshot ${snapshot.id}: undo with comfy-env restore ${snapshot.id}\nRestart ComfyUI to use it.`)
  return 0
}

/** `comfy-env snapshots`: what ComfyUI's own environment can be put back to. */
export async function snapshotsCommand(engine: Engine, output: Output): Promise<number> {
  const snapshots = await hostChanges(engine)
  output.result({ snapshots }, () => table(snapshots.map(({ id, state, pack, added, changed }) => [id, state, pack, `+${added.length} ~${changed.length}`])) || 'No snapshots yet.')
  return 0
}

/** `comfy-env restore SNAPSHOT`: ComfyUI's own environment as it was before, without network. `force`: also what others have changed since. */
export async function restoreCommand(id: string | undefined, force: boolean, engine: Engine, output: Output): Promise<number> {
  const waiting = { signal: interruptSignal(), onWait: waitsFor('ComfyUI’s own environment', output) }
  const { snapshot, ...rest } = await restoreHost(engine, id ?? '', waiting, output.note, force)
  output.result({ snapshot: snapshot.id, state: 'restored', ...rest }, () => `ComfyUI’s environment is as it was before ${snapshot.id}.${besides(rest)} Restart ComfyUI.`)
  return 0
}
