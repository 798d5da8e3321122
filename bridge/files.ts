import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { z } from 'zod'
import { BridgeError } from './errors/bridgeError'

/**
 * Replaces a file at once: a reader, or a kill at any moment, sees the old content or the new. The folder is flushed too, so
 * that the rename survives a power loss.
 */
export async function writeAtomic(path: string, text: string, mode = 0o644): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const beside = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    const file = await open(beside, 'wx', mode)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(beside, path)
  } catch (error) {
    await rm(beside, { force: true })
    throw asDiskError(error)
  }
  const folder = await open(dirname(path), 'r').catch(() => null) // folders cannot be opened on Windows
  await folder?.sync().catch(() => undefined)
  await folder?.close()
}

/** A JSON file by its schema; null if it is not there or not readable as one. */
export async function readJson<T>(path: string, schema: z.ZodType<T, unknown>): Promise<T | null> {
  const text = await readFile(path, 'utf8').catch(() => null)
  if (text === null) return null
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    return null
  }
}

/**
 * The same for a file that is about to be written again: one that is there and cannot be read, because another version wrote it, is put aside first.
 * Returns where it is kept, if so.
 */
export async function readOrKeep<T>(path: string, schema: z.ZodType<T, unknown>): Promise<{ value: T | null; kept: string | null }> {
  const value = await readJson(path, schema)
  if (value !== null) return { value, kept: null }
  const kept = `${path}.unreadable`
  return { value, kept: await rename(path, kept).then(() => kept, () => null) }
}

/** A full disk as our own error; anything else as it is. */
export function asDiskError(error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOSPC' || code === 'EDQUOT') return new BridgeError('DISK_FULL', 'The disk is full.', { cause: error })
  return error
}
