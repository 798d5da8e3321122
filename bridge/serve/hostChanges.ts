import type { HostChange } from '../../schemas/env'
import type { Engine } from '../engine'
import { BridgeError } from '../errors/bridgeError'
import { inHostTurn } from '../install/hostTurn'
import { type Restored, restoreSnapshot } from '../install/restore'
import { listSnapshots, onTopOf, type Snapshot } from '../install/snapshot'
import type { Waiting } from '../osLock'

/** What was changed in ComfyUI's own environment, newest first. */
export async function hostChanges({ settings }: Engine): Promise<HostChange[]> {
  const { snapshots: all } = await listSnapshots(settings.home)
  return all.map((one) => {
    const { id, pack, state, created, added, kept } = one
    const changed = kept.map(({ name, version }) => ({ name, version }))
    return { id, pack, state, created, added, changed, restorable: state !== 'restored' && !onTopOf(all, one) }
  })
}

/**
 * Puts ComfyUI's own environment back to what it was before a change, without network. `force`: what others have changed since is copied and put back too.
 * `tell` hears of a killed install on top of it, which is undone first. Throws UNKNOWN_ENV, ENV_BUSY, HOST_CHANGED, VERIFY_FAILED or CANCELLED.
 */
export async function restoreHost({ settings }: Engine, id: string, waiting: Waiting, tell: (text: string) => void, force = false): Promise<Restored> {
  const { home } = settings
  const { snapshot: above } = await named(home, id)
  return inHostTurn({ ...waiting, home, site: above.site, above, tell }, async () => restoreSnapshot(home, await restorable(home, id), force))
}

const hint = '`comfy-env snapshots` lists them.'

async function named(home: string, id: string): Promise<{ snapshot: Snapshot; all: Snapshot[] }> {
  const { snapshots: all, faults } = await listSnapshots(home)
  const snapshot = all.find((one) => one.id === id)
  if (snapshot) return { snapshot, all }
  throw new BridgeError('UNKNOWN_ENV', `There is no snapshot \`${id}\`${faults.length > 0 ? `, or it is not readable: ${faults.join(' ')}` : '.'}`, { hint })
}

async function restorable(home: string, id: string): Promise<Snapshot> {
  const { snapshot, all } = await named(home, id)
  const later = onTopOf(all, snapshot)
  if (later) throw new BridgeError('ENV_BUSY', `${later.id} was installed after it.`, { hint: `Restore that one first: comfy-env restore ${later.id}` })
  if (snapshot.state === 'restored') throw new BridgeError('UNKNOWN_ENV', `${snapshot.id} was restored already.`, { hint })
  return snapshot
}
