import { isUtf8 } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import { readFileSync, type Stats, statSync } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, readdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { z } from 'zod'
import { BridgeError, toWire } from './errors/bridgeError'
import { reasonOf } from './errors/systemError'

/** The system's own code of an error; undefined: it has none. */
export const errnoOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)

/** Whether an error says that there is no such file or folder. */
export const isAbsent = (error: unknown): boolean => errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR'

/** Flushes a file or folder to the disk. Folders cannot be opened on Windows. */
export async function flush(path: string): Promise<void> {
  const opened = await open(path, 'r').catch(() => null)
  await opened?.sync().catch(() => undefined)
  await opened?.close()
}

/** A file as it was before it is replaced: whoever may read it and write it stays so. */
async function keepRights(file: FileHandle, { mode, uid, gid }: Stats): Promise<void> {
  const made = await file.stat()
  if (made.uid !== uid || made.gid !== gid) await file.chown(uid, gid).catch(() => undefined) // only root may give a file away
  await file.chmod(mode & 0o777)
}

/**
 * Replaces a file at once: a reader, or a kill at any moment, sees the old content or the new. The folder is flushed too, so
 * that the rename survives a power loss. Without `mode` the file's own stays, or it is 644. Throws DISK_FULL or FILE_UNWRITABLE.
 */
export async function writeAtomic(path: string, text: string, mode?: number): Promise<void> {
  const beside = `${path}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`
  try {
    await mkdir(dirname(path), { recursive: true })
    const before = mode === undefined ? await lstat(path).catch(() => null) : null
    // what others may not read is not shown to them for a moment either
    const file = await open(beside, 'wx', mode ?? (before?.isFile() ? before.mode & 0o777 & 0o644 : 0o644))
    try {
      if (before?.isFile()) await keepRights(file, before)
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(beside, path)
  } catch (error) {
    await rm(beside, { force: true }).catch(() => undefined)
    throw unwritable(path, error)
  }
  await flush(dirname(path))
}

/** The same for a file whose content was read from there: where a user has put a link to it, the link stays and its file is replaced. */
export async function writeThrough(path: string, text: string): Promise<void> {
  await writeAtomic(await realpath(path).catch((error: unknown) => (isAbsent(error) ? path : Promise.reject(unwritable(path, error)))), text)
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return errnoOf(error) === 'EPERM'
  }
}

/** Nobody takes so long to write a file of ours. A process that cannot be seen here (of a container beside) may be at it before. */
const ABANDONED_MS = 3600_000

/** Whether nothing has changed a file or folder itself for a time. */
export const isOlder = (path: string, ms: number): Promise<boolean> => lstat(path).then(({ mtimeMs }) => Date.now() - mtimeMs > ms, () => false)

/** Removes what killed processes were about to write into a folder of ours. Names that older versions gave have no process in them. */
export async function sweepUnfinished(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [] as string[])) {
    const [found, pid] = /(?:\.json|\.toml|^\.comfyui-envmanager)\.(?:(\d+)-)?[0-9a-f]{12}\.tmp$/.exec(name) ?? []
    if (!found || (pid !== undefined && isAlive(Number(pid))) || !(await isOlder(join(folder, name), ABANDONED_MS))) continue
    await rm(join(folder, name), { force: true }).catch(() => undefined)
  }
}

/** No file of ours is larger; one that is was not written by us, and reading it would take seconds and gigabytes. */
export const LARGEST_FILE = 32 << 20
const tooLarge = (size: number): string => `it has ${Math.round(size / 1e6)} MB, and no file of ours has more than ${Math.round(LARGEST_FILE / 1e6)}`

/** Throws FILE_UNREADABLE for a pipe, a socket or a device in place of a file: whoever opens one to read it or to add to it may wait without end. */
export function refuseNoFile(path: string, found: Stats | null | undefined): void {
  if (found && !found.isFile() && !found.isDirectory()) throw unreadable(path, 'it is no file')
}

/** Throws FILE_UNREADABLE for what is no file of ours whatever it holds: a pipe, or one that is too large. */
export function refuseOdd(path: string, found: Stats): void {
  refuseNoFile(path, found)
  if (found.size > LARGEST_FILE) throw unreadable(path, tooLarge(found.size), { damaged: true })
}

/** Bytes as the text that they are. Throws FILE_UNREADABLE where they are none: what stands for a wrong byte would be written back. */
export function textIn(path: string, bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString()
  const wrong = bytes.toString('latin1').split('\n').findIndex((line) => !isUtf8(Buffer.from(line, 'latin1')))
  throw unreadable(path, `its line ${wrong + 1} is not UTF-8`, { damaged: true })
}

/** The bytes of a file of ours, for who cannot wait for them. Throws FILE_UNREADABLE for what is none, and what the system says. */
export function bytesNow(path: string): Buffer {
  refuseOdd(path, statSync(path))
  return readFileSync(path)
}

/** The bytes of a file of any size; null: there is none that can be read. */
export async function bytesIn(path: string): Promise<Buffer | null> {
  const found = await stat(path).catch(() => null)
  return found?.isFile() ? readFile(path).catch(() => null) : null
}

/** FILE_UNREADABLE for a link to what is not there: that is not the same as no file. */
export const danglingLink = (path: string): BridgeError => unreadable(path, 'it is a link, and what it leads to is not there')

/** The text of a file; null: it is not there. Any other reason is FILE_UNREADABLE: what cannot be read is not empty. */
export async function readText(path: string): Promise<string | null> {
  try {
    refuseOdd(path, await stat(path))
    return textIn(path, await readFile(path))
  } catch (error) {
    if (error instanceof BridgeError) throw error
    if (errnoOf(error) !== 'ENOENT') throw unreadable(path, reasonOf(error), { cause: error })
    if (await lstat(path).then((found) => found.isSymbolicLink(), () => false)) throw danglingLink(path)
    return null
  }
}

/** The names in a folder; an absent one has none. */
export async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw unreadable(folder, reasonOf(error), { cause: error })
  }
}

/** A JSON file that can be made again, by its schema; null if it is not there or not readable as one. What a user would miss is read by `readState`. */
export async function readCached<T>(path: string, schema: z.ZodType<T, unknown>): Promise<T | null> {
  const text = await readText(path).catch(() => null)
  if (text === null) return null
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    return null
  }
}

/** FILE_UNREADABLE. `damaged`: its content is at fault, so reading it again cannot help. */
export function unreadable(path: string, reason: string, { cause, damaged = false }: { cause?: unknown; damaged?: boolean } = {}): BridgeError {
  return new BridgeError('FILE_UNREADABLE', `${path} cannot be read: ${reason}.`, { details: { file: path, damaged }, cause })
}

/** A failed write as DISK_FULL or FILE_UNWRITABLE. */
export function unwritable(path: string, error: unknown): unknown {
  const full = asDiskError(error)
  return full instanceof BridgeError ? full : new BridgeError('FILE_UNWRITABLE', `${path} cannot be written: ${reasonOf(error)}.`, { details: { file: path }, cause: error })
}

/** Whether something failed because it could not write. */
export const isUnwritable = (error: unknown): boolean => error instanceof BridgeError && (error.code === 'FILE_UNWRITABLE' || error.code === 'DISK_FULL')

/** Why nothing can be written into a folder, for lack of rights or of space; null: it can. */
export async function whyUnwritable(folder: string): Promise<string | null> {
  const path = join(folder, `state.json.${process.pid}-${randomBytes(6).toString('hex')}.tmp`)
  try {
    await mkdir(folder, { recursive: true })
    await writeFile(path, Buffer.alloc(16_384))
    return null
  } catch (error) {
    return toWire(unwritable(folder, error)).message
  } finally {
    await rm(path, { force: true }).catch(() => undefined)
  }
}

/** A full disk as our own error; anything else as it is. */
export function asDiskError(error: unknown): unknown {
  const code = errnoOf(error)
  if (code === 'ENOSPC' || code === 'EDQUOT') return new BridgeError('DISK_FULL', 'The disk is full.', { cause: error })
  return error
}
