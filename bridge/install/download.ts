import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { BridgeError } from '../errors/bridgeError'
import { asDiskError } from '../files'
import { redact } from '../resolve/candidate'
import { fileBytes, statusMeaning } from '../sources/http'

export interface Wanted {
  url: string
  filename: string
  sha256: string | null
}

export type OnBytes = (done: number, total: number | null) => void

/** Size of a wheel before it is fetched; null if its server does not say. */
export async function wheelBytes(url: string, signal?: AbortSignal): Promise<number | null> {
  if (!url.startsWith('file:')) return fileBytes(url, signal)
  return stat(fileURLToPath(url)).then(({ size }) => size, () => null)
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

/** A wheel is a zip: it starts with `PK`. A page that says "not found" with status 200 does not. */
async function refuseNonWheel(path: string, wanted: Wanted): Promise<void> {
  const file = await open(path)
  const start = Buffer.alloc(512)
  const { bytesRead } = await file.read(start, 0, 512, 0).finally(() => file.close())
  if (bytesRead > 3 && start.subarray(0, 4).equals(Buffer.from([0x50, 0x4b, 3, 4]))) return
  const text = start.subarray(0, bytesRead).toString('latin1')
  const what = bytesRead === 0 ? 'an empty file' : /<!doctype html|<html/i.test(text) ? 'a web page' : 'something else'
  throw new BridgeError('NOT_A_WHEEL', `${redact(wanted.url)} is ${what}, not the wheel ${wanted.filename}.`, {
    details: { url: redact(wanted.url) },
  })
}

async function fetchTo(path: string, wanted: Wanted, onBytes: OnBytes, signal: AbortSignal): Promise<void> {
  const url = redact(wanted.url)
  let response: Response
  try {
    response = await fetch(wanted.url, { signal })
  } catch (cause) {
    if (signal.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
    throw new BridgeError('DOWNLOAD_FAILED', `${url} cannot be reached.`, { cause })
  }
  const meaning = statusMeaning(response.status)
  if (meaning !== 'ok' || !response.body) {
    throw new BridgeError('DOWNLOAD_FAILED', `${url} answered HTTP ${response.status}.`, { details: { status: response.status } })
  }
  const total = Number(response.headers.get('content-length')) || null
  const file = await open(path, 'w')
  let done = 0
  try {
    for await (const chunk of response.body) {
      await file.write(chunk)
      done += chunk.byteLength
      onBytes(done, total)
    }
  } catch (error) {
    if (signal.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
    const disk = asDiskError(error)
    if (disk instanceof BridgeError) throw disk
    throw new BridgeError('DOWNLOAD_FAILED', `${url} broke off after ${done} of ${total ?? 'unknown'} bytes.`, { cause: error })
  } finally {
    await file.close()
  }
  if (total !== null && done !== total) {
    throw new BridgeError('DOWNLOAD_FAILED', `${url} ended after ${done} of ${total} bytes.`)
  }
}

/**
 * Brings a wheel into the cache and returns its path. It lands under its name only when it is whole, a wheel, and the one that
 * was promised; what is left of a failure is deleted.
 */
export async function fetchWheel(wanted: Wanted, cache: string, onBytes: OnBytes, signal: AbortSignal): Promise<string> {
  const key = wanted.sha256 ?? createHash('sha256').update(wanted.url).digest('hex')
  const folder = join(cache, 'wheels', key.slice(0, 32))
  const path = join(folder, wanted.filename)
  const ready = await stat(path).catch(() => null)
  if (ready && wanted.sha256 !== null && (await sha256Of(path)) === wanted.sha256) return path
  const part = `${path}.part`
  try {
    await mkdir(folder, { recursive: true })
    if (wanted.url.startsWith('file:')) await copyFile(fileURLToPath(wanted.url), part)
    else await fetchTo(part, wanted, onBytes, signal)
    await refuseNonWheel(part, wanted)
    const found = await sha256Of(part)
    if (wanted.sha256 !== null && found !== wanted.sha256) {
      throw new BridgeError('HASH_MISMATCH', `${wanted.filename} has another content than its source promised.`, {
        details: { expected: wanted.sha256, found },
      })
    }
    await rename(part, path)
    return path
  } catch (error) {
    await rm(part, { force: true })
    throw asDiskError(error)
  }
}
