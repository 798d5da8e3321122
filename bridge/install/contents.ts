import { createHash } from 'node:crypto'
import { copyFile, lstat, mkdir, open, readlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import { errnoOf, unreadable } from '../files'
import { sha256Of } from './cache'

/** A file or a symbolic link: its content, and what else belongs to it. */
export interface Content {
  sha256: string
  mode: number
  mtime: number
  link?: string
}

/** What lies at a path; null: no file. Folders, and paths that lead through a file, are none. Throws FILE_UNREADABLE. */
export async function contentAt(path: string): Promise<Content | null> {
  try {
    const found = await lstat(path)
    const about = { mode: found.mode & 0o7777, mtime: found.mtimeMs }
    if (found.isSymbolicLink()) {
      const link = await readlink(path)
      return { ...about, link, sha256: createHash('sha256').update(link).digest('hex') }
    }
    return found.isFile() ? { ...about, sha256: await sha256Of(path) } : null
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes(String(errnoOf(cause)))) return null
    throw unreadable(path, cause instanceof Error ? (cause.message.split(', ')[0] ?? '') : String(cause), { cause })
  }
}

interface Shown {
  sha256: string
  link?: string | undefined
}

/** Whether two contents are one. What a link leads to is not its content. */
export const isSame = (one: Shown | null, other: Shown | null): boolean => one?.sha256 === other?.sha256 && one?.link === other?.link

/** Puts a file on the disk for certain: unlike `flush`, what keeps it from that is an error. */
export async function flushFile(path: string): Promise<void> {
  const file = await open(path, process.platform === 'win32' ? 'r+' : 'r')
  await file.sync().finally(() => file.close())
}

/** Copies a file and puts the copy on the disk. */
export async function copyFlushed(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true })
  await copyFile(from, to)
  await flushFile(to)
}

const AT_ONCE = 16

/** Does some work for each item, a few beside each other. Throws the first error, once nothing runs any more. */
export async function forEach<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items]
  const one = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item).catch((error: unknown) => (queue.splice(0), Promise.reject(error)))
  }
  const failed = (await Promise.allSettled(Array.from({ length: AT_ONCE }, one))).find((end) => end.status === 'rejected')
  if (failed) throw failed.reason
}

const SHOWN = 5

/** Some names for a sentence, and how many more there are. */
export const someOf = (names: readonly string[]): string => `${names.slice(0, SHOWN).join(', ')}${names.length > SHOWN ? ` and ${names.length - SHOWN} more` : ''}`

/** VERIFY_FAILED for a change that was not begun. */
export const cannotKeep = (message: string, cause?: unknown): BridgeError =>
  new BridgeError('VERIFY_FAILED', message, { hint: 'Nothing was changed. Install the pack into an environment of its own instead.', ...(cause !== undefined && { cause }) })
