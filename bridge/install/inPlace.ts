import { randomBytes } from 'node:crypto'
import { copyFile, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { z } from 'zod'
import { BridgeError, toWire } from '../errors/bridgeError'
import { asDiskError, flush, namesIn, writeAtomic } from '../files'
import { markFolder } from '../mark'
import { ifFree, lockIn, withLock } from '../osLock'
import { distInfoOf, readInstalled } from '../packs/installed'
import { normalizeName } from '../resolve/requirement'
import { readState, rewriteState } from '../stateFile'
import type { Http } from '../sources/http'
import type { Reporter } from './build'
import { sha256Of } from './cache'
import { cacheLock, fetchWheel } from './download'
import { inspectWheel, refuseWrongMetadata } from './inspect'
import { directWheels, uvLock } from './lock'
import { type FullPlan, TORCH_FAMILY } from './plan'
import { parseRecord } from './record'
import type { Uv } from './uv'
import { installLockArgs, installWheelsArgs } from './uvArgs'
import { importFailure, wrongFiles } from './verify'

/**
 * What ComfyUI's own environment was before we changed it. `open`: the change is under way, and whoever finds it so undoes it;
 * `done`: it stands, and can be undone; `restored`: it was undone.
 */
const Snapshot = z.strictObject({
  schema: z.literal(1),
  id: z.string(),
  state: z.enum(['open', 'done', 'restored']),
  created: z.number(),
  pack: z.string(),
  interpreter: z.string(),
  site: z.string(),
  added: z.array(z.string()),
  /** Packages whose files are kept, with each file's path below site-packages and its content hash. */
  kept: z.array(z.strictObject({ name: z.string(), version: z.string(), files: z.array(z.strictObject({ path: z.string(), sha256: z.string() })) })),
})
export type Snapshot = z.infer<typeof Snapshot>

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

const snapshotsIn = (home: string): string => join(home, 'snapshots')
const filesOf = (home: string, id: string): string => join(snapshotsIn(home), id, 'files')
const recordOf = (home: string, id: string): string => join(snapshotsIn(home), id, 'snapshot.json')

async function save(home: string, snapshot: Snapshot): Promise<Snapshot> {
  return rewriteState(recordOf(home, snapshot.id), Snapshot, () => snapshot)
}

/** Every snapshot that can be read, newest first, and what keeps the others from it. */
export async function listSnapshots(home: string): Promise<{ snapshots: Snapshot[]; faults: string[] }> {
  const faults: string[] = []
  const read = async (name: string): Promise<Snapshot[]> => {
    const found = await readState(recordOf(home, name), Snapshot).catch((error: unknown) => void faults.push(toWire(error).message))
    return found && found.value.id === name ? [found.value] : [] // a copy that somebody has made is none
  }
  const all = await Promise.all((await namesIn(snapshotsIn(home))).map(read))
  return { snapshots: all.flat().sort((a, b) => b.created - a.created), faults }
}

/** Paths of an installed distribution's files below the environment, by its RECORD. Scripts beside site-packages count. */
async function installedFiles(site: string, name: string): Promise<string[]> {
  const info = await distInfoOf(site, name)
  if (!info) return []
  const record = await readFile(join(site, info, 'RECORD'), 'utf8').catch(() => '')
  const root = resolve(site, '..', '..', '..')
  const own = parseRecord(record).map(({ path }) => path)
  const beside = ['INSTALLER', 'REQUESTED', 'direct_url.json', 'RECORD'].map((file) => `${info}/${file}`)
  const paths = [...new Set([...own, ...beside])].filter((path) => resolve(site, path).startsWith(root + sep))
  const present = await Promise.all(paths.map((path) => stat(join(site, path)).then((found) => found.isFile(), () => false)))
  return paths.filter((_, index) => present[index])
}

/** Where a file of site-packages lies in a snapshot: `..` of scripts becomes a name of its own. */
const inSnapshot = (path: string): string => path.split('/').map((part) => (part === '..' ? '__up' : part)).join('/')

async function keep(home: string, id: string, site: string, name: string, version: string): Promise<Snapshot['kept'][number]> {
  const files = []
  for (const path of await installedFiles(site, name)) {
    const copy = join(filesOf(home, id), inSnapshot(path))
    await mkdir(dirname(copy), { recursive: true })
    await copyFile(join(site, path), copy)
    await flush(copy)
    files.push({ path, sha256: await sha256Of(copy) })
  }
  return { name, version, files }
}

/** Keeps every file that the plan will change, and notes what it will add, before anything is touched. */
async function takeSnapshot({ full, home, site, interpreter }: InPlaceInput): Promise<Snapshot> {
  const id = `${new Date().toISOString().replace(/[:.]/g, '-')}-${randomBytes(2).toString('hex')}`
  await markFolder(join(snapshotsIn(home), id), 'snapshot', id)
  const installed = await readInstalled([site])
  const names = full.lock.packages.map(({ name }) => normalizeName(name))
  const kept: Snapshot['kept'] = []
  for (const name of names) {
    const version = installed.get(name)
    if (version !== undefined) kept.push(await keep(home, id, site, name, version))
  }
  const added = names.filter((name) => !installed.has(name))
  const { snapshots } = await listSnapshots(home)
  const created = Math.max(Date.now(), (snapshots[0]?.created ?? 0) + 1) // their order is what stands on what, also where the clock was set back
  const snapshot: Snapshot = { schema: 1, id, state: 'open', created, pack: full.lock.pack, interpreter, site, added, kept }
  await save(home, snapshot)
  return snapshot
}

async function removeInstalled(site: string, name: string): Promise<void> {
  const info = await distInfoOf(site, name)
  const files = await installedFiles(site, name)
  await Promise.all(files.map((path) => rm(join(site, path), { force: true })))
  const folders = new Set(files.map((path) => dirname(join(site, path))).filter((folder) => folder.startsWith(site + sep)))
  for (const folder of [...folders].sort((a, b) => b.length - a.length)) {
    await rm(join(folder, '__pycache__'), { recursive: true, force: true })
    if ((await readdir(folder).catch(() => ['kept'])).length === 0) await rm(folder, { recursive: true, force: true })
  }
  if (info) await rm(join(site, info), { recursive: true, force: true })
}

/** Throws VERIFY_FAILED unless every kept copy is whole. */
async function refuseDamaged(home: string, { id, kept }: Snapshot): Promise<void> {
  for (const { path, sha256 } of kept.flatMap(({ files }) => files)) {
    const whole = (await sha256Of(join(filesOf(home, id), inSnapshot(path))).catch(() => null)) === sha256
    if (!whole) throw new BridgeError('VERIFY_FAILED', `${path} cannot be put back: its kept copy is damaged. Nothing was changed.`)
  }
}

/** Puts ComfyUI's environment back to what a snapshot kept, without network, once all that it kept is known to be whole. For who holds `hostLock`. */
export async function restoreSnapshot(home: string, snapshot: Snapshot): Promise<Snapshot> {
  const { id, site, added, kept } = snapshot
  await refuseDamaged(home, snapshot)
  await save(home, { ...snapshot, state: 'open' }) // killed from here on, it is taken up again at the next start
  for (const name of [...added, ...kept.map((item) => item.name)]) await removeInstalled(site, name)
  for (const { files } of kept) {
    for (const { path, sha256 } of files) {
      const target = join(site, path)
      await mkdir(dirname(target), { recursive: true })
      await copyFile(join(filesOf(home, id), inSnapshot(path)), target)
      if ((await sha256Of(target)) !== sha256) throw new BridgeError('VERIFY_FAILED', `${relative(site, target)} could not be restored: its kept copy is damaged.`)
    }
  }
  return save(home, { ...snapshot, state: 'restored' })
}

/** What everything that changes ComfyUI's own environment holds. */
export const hostLock = (home: string): string => lockIn(home, 'comfyui-own')

const openOnes = async (home: string): Promise<Snapshot[]> => (await listSnapshots(home)).snapshots.filter(({ state }) => state === 'open')

/** Undoes changes that were killed half-way, unless another process is at it. Returns what to tell of each. Never throws: what cannot be undone keeps nothing from starting. */
export async function recoverInPlace(home: string): Promise<string[]> {
  const undo = async (snapshot: Snapshot): Promise<string> => {
    const what = `An install for ${snapshot.pack} into ComfyUI’s own environment was broken off`
    return restoreSnapshot(home, snapshot).then(() => `${what} and has been undone.`, (error: unknown) => `${what} and cannot be undone: ${toWire(error).message}`)
  }
  const all = async (): Promise<string[]> => {
    const told: string[] = []
    for (const snapshot of await openOnes(home)) told.push(await undo(snapshot))
    return told
  }
  try {
    if ((await openOnes(home)).length === 0) return []
    return (await ifFree(hostLock(home), all)) ?? []
  } catch (error) {
    return [`Whether an install into ComfyUI’s own environment was broken off is not known: ${toWire(error).message}`]
  }
}

/** Versions of torch's family and the hash of torch's version file: what no install of ours may change. */
async function torchState(site: string): Promise<string> {
  const installed = await readInstalled([site])
  const versions = TORCH_FAMILY.map((name) => `${name} ${installed.get(name) ?? '-'}`)
  const file = await readFile(join(site, 'torch', 'version.py'), 'utf8').catch(() => '')
  return [...versions, `numpy ${installed.get('numpy') ?? '-'}`, file].join('\n')
}

async function change(input: InPlaceInput, files: string[], snapshot: Snapshot): Promise<void> {
  const { full, uv, interpreter, site, reporter, signal, home } = input
  const onLine = (text: string): void => reporter.log(text)
  const before = await torchState(site)
  reporter.phase('installing', 0, full.lock.packages.length, 'packages')
  const text = uvLock(full.lock)
  if (text !== null) {
    const lock = join(snapshotsIn(home), snapshot.id, 'pylock.uv.toml')
    await writeAtomic(lock, text)
    await uv.run(installLockArgs(interpreter, lock), { onLine, signal })
  }
  if (files.length > 0) await uv.run([...installWheelsArgs(interpreter, files).slice(0, -files.length - 1), '--reinstall', '--', ...files], { onLine, signal })
  reporter.phase('verifying')
  if ((await torchState(site)) !== before) throw new BridgeError('TORCH_PROTECTED', 'The install changed torch or numpy of ComfyUI; it was undone.')
  for (const { name } of full.lock.packages) {
    const wrong = await wrongFiles(site, normalizeName(name))
    if (wrong[0]) throw new BridgeError('VERIFY_FAILED', `${wrong[0]}; the install was undone.`)
  }
  for (const name of full.lock.direct) {
    const said = await importFailure(interpreter, site, name, signal)
    if (signal.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
    if (said) throw new BridgeError('VERIFY_FAILED', `${name} cannot be imported: ${said.at(-1)}; the install was undone.`)
  }
}

/**
 * Installs into ComfyUI's own environment, the one place where that is not done beside: with a snapshot first, torch and numpy
 * guarded, every file checked, and everything put back if anything of it fails or is cancelled. For who holds `hostLock`.
 */
export function installInPlace(input: InPlaceInput): Promise<Snapshot> {
  const { cache, reporter, signal } = input
  const onWait = (): void => reporter.log('waiting for the deletion of kept downloads')
  return withLock(cacheLock(cache), { signal, onWait, shared: true }, () => install(input))
}

async function install(input: InPlaceInput): Promise<Snapshot> {
  const { full, home, cache, http, reporter, signal } = input
  const files: string[] = []
  for (const wanted of directWheels(full.lock)) {
    await refuseWrongMetadata(wanted, http, signal)
    const file = await fetchWheel(wanted, cache, http, (done, total) => reporter.phase('downloading', done, total, 'bytes'), signal)
    await inspectWheel(file)
    files.push(file)
  }
  const snapshot = await takeSnapshot(input).catch((error: unknown) => Promise.reject(asDiskError(error)))
  reporter.log(`snapshot ${snapshot.id}`)
  try {
    await change(input, files, snapshot)
    reporter.phase('switching')
    return await save(home, { ...snapshot, state: 'done' })
  } catch (error) {
    reporter.log('undoing the change', 'warn')
    await restoreSnapshot(home, snapshot)
    throw asDiskError(error)
  }
}
