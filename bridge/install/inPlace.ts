import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { BridgeError, toWire } from '../errors/bridgeError'
import { asDiskError, writeAtomic } from '../files'
import { markFolder, removeMarked } from '../mark'
import { withLock } from '../osLock'
import { readInstalled } from '../packs/installed'
import { askInterpreter, type Scheme } from '../probe/interpreter'
import { normalizeName } from '../resolve/requirement'
import type { Http } from '../sources/http'
import { mendCache, type Reporter } from './build'
import { cannotKeep } from './contents'
import { cacheLock, fetchWheel } from './download'
import { pythonIn } from './envStore'
import { inspectWheel, refuseWrongMetadata } from './inspect'
import { directWheels, uvLock } from './lock'
import { type FullPlan, TORCH_FAMILY } from './plan'
import { restoreSnapshot } from './restore'
import { folderOf, newSnapshotId, saveSnapshot, type Snapshot, stageOf } from './snapshot'
import { takeSnapshot, withResult } from './takeSnapshot'
import type { Uv } from './uv'
import { installLockArgs, installWheelsArgs, venvArgs } from './uvArgs'
import { findDamage, importFailure, wrongFiles } from './verify'

export interface InPlaceInput {
  full: FullPlan
  home: string
  cache: string
  interpreter: string
  /** ComfyUI's site-packages, the one that installers write into. */
  site: string
  uv: Uv
  http: Http
  reporter: Reporter
  signal: AbortSignal
}

/** Versions of torch's family and the hash of torch's version file: what no install of ours may change. */
async function torchState(site: string): Promise<string> {
  const installed = await readInstalled([site])
  const versions = TORCH_FAMILY.map((name) => `${name} ${installed.get(name) ?? '-'}`)
  const file = await readFile(join(site, 'torch', 'version.py'), 'utf8').catch(() => '')
  return [...versions, `numpy ${installed.get('numpy') ?? '-'}`, file].join('\n')
}

/** Installs the planned packages into a Python's environment: those of the lock, then the wheels that we have fetched. */
async function installInto(python: string, files: string[], { full, uv, home, signal }: InPlaceInput, id: string, onLine: (text: string) => void): Promise<void> {
  const text = uvLock(full.lock)
  const how = { onLine, signal, change: id }
  if (text !== null) {
    const lock = join(folderOf(home, id), 'pylock.uv.toml')
    await writeAtomic(lock, text)
    await uv.run(installLockArgs(python, lock), how)
  }
  if (files.length > 0) await uv.run([...installWheelsArgs(python, files).slice(0, -files.length - 1), '--reinstall', '--', ...files], how)
}

/** Returns the folder of packages that it was tried in. */
async function tryBeside(files: string[], input: InPlaceInput, id: string): Promise<string> {
  const { home, interpreter, uv, signal } = input
  const python = pythonIn(stageOf(home, id))
  await uv.run(venvArgs(interpreter, stageOf(home, id), false), { signal, change: id })
  await installInto(python, files, input, id, () => undefined)
  return (await askInterpreter(python)).sites[0] ?? ''
}

/** Makes the same change in an empty environment of the same Python: what uv writes there, it will write in ComfyUI's. Throws VERIFY_FAILED where that is not what the wheels hold. */
async function stage(files: string[], input: InPlaceInput, id: string): Promise<void> {
  let site = await tryBeside(files, input, id)
  if (await mendCache(site, input)) {
    await rm(stageOf(input.home, id), { recursive: true, force: true })
    site = await tryBeside(files, input, id)
  }
  const [wrong] = await findDamage(site)
  if (wrong) throw cannotKeep(`What uv installs is not what its wheel holds: ${wrong.what}.`)
}

/** Makes the change and looks whether it is right. Returns the snapshot with what it has left. */
async function change(input: InPlaceInput, files: string[], snapshot: Snapshot, scheme: Scheme): Promise<Snapshot> {
  const { full, interpreter, site, reporter, signal } = input
  const before = await torchState(site)
  reporter.phase('installing', 0, full.lock.packages.length, 'packages')
  await installInto(interpreter, files, input, snapshot.id, (text) => reporter.log(text))
  reporter.phase('verifying')
  if ((await torchState(site)) !== before) throw new BridgeError('TORCH_PROTECTED', 'The install changed torch or numpy of ComfyUI; it was undone.')
  const names = full.lock.packages.map(({ name }) => normalizeName(name))
  for (const name of names) {
    const wrong = await wrongFiles(site, name)
    if (wrong[0]) throw new BridgeError('VERIFY_FAILED', `${wrong[0]}; the install was undone.`)
  }
  const result = await withResult(snapshot, names, scheme)
  for (const name of full.lock.direct) {
    const said = await importFailure(interpreter, site, name, signal)
    if (signal.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
    if (said) throw new BridgeError('VERIFY_FAILED', `${name} cannot be imported: ${said.at(-1)}; the install was undone.`)
  }
  return result
}

/** Undoes a change that failed: what it was about to write is ours as it lies there. Throws its error; where it cannot be undone now, with what keeps it from that. */
async function undone(home: string, snapshot: Snapshot, failed: unknown): Promise<never> {
  const error = asDiskError(failed)
  const written = (snapshot.written ?? []).map(({ path }) => ({ path, sha256: null }))
  await restoreSnapshot(home, { ...snapshot, written }).catch((cause: unknown) => {
    const { code, message, details } = toWire(error)
    const { code: causeCode, message: why, hint } = toWire(cause)
    const todo = causeCode === 'DISK_FULL' ? 'Free space on that disk.' : hint
    throw new BridgeError(code, `${message} It could not be undone: ${why}`, { hint: `${todo} The next start tries again.`, cause, ...(details && { details }) })
  })
  throw error
}

/**
 * Installs into ComfyUI's own environment, the one place where that is not done beside: tried in an empty one first, with a snapshot of every file that
 * will change, torch and numpy guarded, every file checked, and everything put back if anything of it fails or is cancelled. For who has the turn (`hostTurn.ts`).
 */
export function installInPlace(input: InPlaceInput): Promise<Snapshot> {
  const { cache, reporter, signal } = input
  const onWait = (): void => reporter.log('waiting for the deletion of kept downloads')
  return withLock(cacheLock(cache), { signal, onWait, shared: true }, () => install(input))
}

async function download({ full, cache, http, reporter, signal }: InPlaceInput): Promise<string[]> {
  const files: string[] = []
  for (const wanted of directWheels(full.lock)) {
    await refuseWrongMetadata(wanted, http, signal)
    const file = await fetchWheel(wanted, cache, http, (done, total) => reporter.phase('downloading', done, total, 'bytes'), signal)
    await inspectWheel(file)
    files.push(file)
  }
  return files
}

/** The snapshot of a change that has been tried. What does not come to be one leaves nothing behind. */
async function prepare(files: string[], input: InPlaceInput, scheme: Scheme): Promise<Snapshot> {
  const { home, reporter } = input
  const id = newSnapshotId()
  try {
    await markFolder(folderOf(home, id), 'snapshot', id)
    await stage(files, input, id)
    const snapshot = await takeSnapshot(input, id, scheme)
    reporter.log(`snapshot ${id}`)
    return snapshot
  } catch (error) {
    await removeMarked(folderOf(home, id)).catch(() => undefined) // the next start takes it away
    throw asDiskError(error)
  }
}

async function install(input: InPlaceInput): Promise<Snapshot> {
  const { home, reporter, interpreter } = input
  const files = await download(input)
  const { scheme } = await askInterpreter(interpreter)
  const snapshot = await prepare(files, input, scheme)
  try {
    const result = await change(input, files, snapshot, scheme)
    reporter.phase('switching')
    return await saveSnapshot(home, { ...result, state: 'done' })
  } catch (error) {
    reporter.log('undoing the change', 'warn')
    return await undone(home, snapshot, error)
  } finally {
    await rm(stageOf(home, snapshot.id), { recursive: true, force: true }).catch(() => undefined) // the next start takes it away
  }
}
