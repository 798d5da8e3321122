import { access, constants, mkdir, open, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { BridgeError } from './errors/bridgeError'
import { isAbsent, unwritable } from './files'

/** How to wait for a lock that another holds. */
export interface Waiting {
  signal?: AbortSignal
  /** Hears once that another holds it. What it throws ends the waiting. */
  onWait?: () => void
  /** Beside others that share it, and never beside one that does not. */
  shared?: boolean
}

const RETRY_MS = 50
const SQLITE_BUSY = 5

/** SQLite as Node has it built in (22.13 and later), without the warning that it is experimental in Node 22. Throws INTERNAL where it is not there. */
function sqlite(): typeof import('node:sqlite') {
  const { emitWarning } = process
  process.emitWarning = () => undefined
  try {
    const found = process.getBuiltinModule('node:sqlite')
    if (found === undefined) throw new BridgeError('INTERNAL', `Node ${process.versions.node} cannot lock files.`, { hint: 'Update Node to 22.13 or later.' })
    return found
  } finally {
    process.emitWarning = emitWarning
  }
}

/** Throws FILE_UNWRITABLE for what cannot be a lock: opening a pipe would never end. */
async function refuseNoFile(path: string): Promise<void> {
  const found = await stat(path).catch(() => null) // what cannot be looked at says why when it is opened
  if (found && !found.isFile()) throw new BridgeError('FILE_UNWRITABLE', `${path} cannot be locked: it is no file.`, { hint: 'Put it aside: nothing of ours is in it.', details: { file: path } })
}

/** SQLite opens what it may only read without a word, and an exclusive transaction there excludes nobody. */
async function refuseReadOnly(path: string): Promise<void> {
  await access(path, constants.W_OK).catch((error: unknown) => (isAbsent(error) ? undefined : Promise.reject(unwritable(path, error))))
}

/** A lock on an empty database: the kernel holds it for this process, and ends it with the process. Null: another holds it. */
async function tryLock(path: string, shared: boolean): Promise<DatabaseSync | null> {
  await refuseNoFile(path)
  if (!shared) await refuseReadOnly(path)
  let database: DatabaseSync | undefined
  try {
    database = new (sqlite().DatabaseSync)(path)
    database.exec('PRAGMA journal_mode = MEMORY') // no file beside it, and nothing to write where the disk is full
    database.exec(shared ? 'BEGIN; SELECT 1 FROM sqlite_schema' : 'BEGIN EXCLUSIVE')
    return database
  } catch (error) {
    database?.close()
    if (error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY) return null
    if (error instanceof BridgeError) throw error
    // SQLite does not say why a file cannot be opened; nobody in this process holds a lock on it, which closing it would end
    await (await open(path, 'a').catch((cause: unknown) => Promise.reject(unwritable(path, cause)))).close()
    throw unwritable(path, error)
  }
}

/** Settles with a promise, or throws CANCELLED first. */
async function unlessAborted(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(new BridgeError('CANCELLED', 'Cancelled.'))
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([aborted, promise])
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

/** The last in line for each lock: the parts of one process stand in line first, in the order of asking. */
const lines = new Map<string, Promise<void>>()

/** A place in a line. Settles when it is ours; the answer leaves it. */
async function standInLine(path: string, { signal, onWait }: Waiting): Promise<() => void> {
  const before = lines.get(path)
  const { promise, resolve } = Promise.withResolvers<void>()
  const last = (before ?? Promise.resolve()).then(() => promise)
  lines.set(path, last)
  const leave = (): void => {
    resolve()
    if (lines.get(path) === last) lines.delete(path)
  }
  try {
    if (before) onWait?.()
    await unlessAborted(before ?? Promise.resolve(), signal)
    return leave
  } catch (error) {
    leave()
    throw error
  }
}

/** Waits for a lock and takes it; the answer gives it back. Throws CANCELLED, what `onWait` throws, DISK_FULL or FILE_UNWRITABLE. */
export async function takeLock(path: string, { signal, onWait, shared = false }: Waiting = {}): Promise<() => void> {
  let told = false
  const waiting = (): void => {
    if (!told) onWait?.()
    told = true
  }
  const leave = shared ? () => undefined : await standInLine(path, { ...(signal && { signal }), onWait: waiting })
  try {
    await mkdir(dirname(path), { recursive: true }).catch((error: unknown) => Promise.reject(unwritable(path, error)))
    for (;;) {
      const database = await tryLock(path, shared)
      if (database) {
        return () => {
          database.close()
          leave()
        }
      }
      waiting()
      await unlessAborted(delay(RETRY_MS), signal)
    }
  } catch (error) {
    leave()
    throw error
  }
}

/**
 * Runs `work` while no other part of this process and no other process holds the lock. It is not reentrant. The file stays: one that is removed could be
 * held twice.
 */
export async function withLock<T>(path: string, waiting: Waiting, work: () => Promise<T>): Promise<T> {
  const giveBack = await takeLock(path, waiting)
  try {
    return await work()
  } finally {
    giveBack()
  }
}

/** The same if the lock is free now; null: it is not, and nothing was done. */
export async function ifFree<T>(path: string, work: () => Promise<T>): Promise<T | null> {
  const taken = new Error('taken')
  const refuse = (): never => {
    throw taken
  }
  const giveBack = await takeLock(path, { onWait: refuse }).catch((error: unknown) => (error === taken ? null : Promise.reject(error)))
  if (giveBack === null) return null
  try {
    return await work()
  } finally {
    giveBack()
  }
}

/** Where the locks of a folder of ours lie. */
export const lockIn = (folder: string, name: string): string => join(folder, 'locks', `${name}.lock`)
