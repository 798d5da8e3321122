import type { HostChange } from '../../schemas/env'
import type { Engine } from '../engine'
import { BridgeError } from '../errors/bridgeError'
import { hostTurns, listSnapshots, restoreSnapshot, type Snapshot } from '../install/inPlace'
import { withTurn } from '../install/turns'

/** The change that stands on top of this one, so that this one cannot be put back before it; undefined: none. */
const onTopOf = (all: Snapshot[], { created }: Snapshot): Snapshot | undefined => all.find((one) => one.created > created && one.state === 'done')

/** What was changed in ComfyUI's own environment, newest first. */
export async function hostChanges({ settings }: Engine): Promise<HostChange[]> {
  const all = await listSnapshots(settings.home)
  return all.map((one) => {
    const { id, pack, state, created, added, kept } = one
    const changed = kept.map(({ name, version }) => ({ name, version }))
    return { id, pack, state, created, added, changed, restorable: state !== 'restored' && !onTopOf(all, one) }
  })
}

/** Puts ComfyUI's own environment back to what it was before a change, without network. Throws UNKNOWN_ENV or ENV_BUSY. */
export async function restoreHost({ settings }: Engine, id: string, signal = new AbortController().signal): Promise<Snapshot> {
  const all = await listSnapshots(settings.home)
  const snapshot = all.find((one) => one.id === id)
  const hint = '`comfy-env snapshots` lists them.'
  if (!snapshot) throw new BridgeError('UNKNOWN_ENV', `There is no snapshot \`${id}\`.`, { hint })
  const later = onTopOf(all, snapshot)
  if (later) throw new BridgeError('ENV_BUSY', `${later.id} was installed after it.`, { hint: `Restore that one first: comfy-env restore ${later.id}` })
  if (snapshot.state === 'restored') throw new BridgeError('UNKNOWN_ENV', `${snapshot.id} was restored already.`, { hint })
  return withTurn(hostTurns(settings.home), signal, () => restoreSnapshot(settings.home, snapshot))
}
