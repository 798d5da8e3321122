import { createHash } from 'node:crypto'
import { copyFile, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Response } from 'undici'
import { z } from 'zod'
import { BridgeError } from '../errors/bridgeError'
import { asDiskError, readCached, refuseNoFile, writeAtomic } from '../files'
import { markFolder } from '../mark'
import { lockIn, withLock } from '../osLock'
import { redact } from '../resolve/candidate'
import { answerError, type Http, meaningOf } from '../sources/http'
import { sha256Of, wheelsIn } from './cache'

export interface Wanted {
  url: string
  filename: string
  sha256: string | null
}

export type OnBytes = (done: number, total: number | null) => void

/** Size of a wheel before it is fetched; null if its server does not say. */
export async function wheelBytes(url: string, http: Http, signal?: AbortSignal): Promise<number | null> {
  if (!url.startsWith('file:')) return http.bytes(url, signal)
  return stat(fileURLToPath(url)).then(({ size }) => size, () => null)
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

/** Whose bytes a partial file holds: only the same file, by its validator, may be gone on with (RFC 9110, If-Range). */
const PartInfo = z.object({ url: z.string(), validator: z.string() })

/** What a download is doing: where it writes, and whom it tells. */
interface Transfer {
  http: Http
  part: string
  onBytes: OnBytes
  signal: AbortSignal
}

/** A strong ETag, else the date; null: the server gives nothing that tells two files apart. */
function validatorOf({ headers }: Response): string | null {
  const etag = headers.get('etag')
  return etag && !etag.startsWith('W/') ? etag : headers.get('last-modified')
}

const infoOf = (part: string): string => `${part}.json`

async function resumable(url: string, part: string): Promise<{ from: number; validator: string } | null> {
  const info = await readCached(infoOf(part), PartInfo)
  const size = await stat(part).then((found) => found.size, () => 0)
  return info?.url === url && size > 0 ? { from: size, validator: info.validator } : null
}

function brokenOff(url: string, done: number, total: number | null, cause?: unknown): BridgeError {
  return new BridgeError('DOWNLOAD_FAILED', `${redact(url)} broke off after ${done} of ${total ?? 'unknown'} bytes.`, {
    details: { url: redact(url), done, total, retry: true },
    ...(cause !== undefined && { cause }),
  })
}

/** Total size of the file that an answer is (a part of); null if the server does not say. */
function totalOf(response: Response): number | null {
  const range = /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1]
  return Number(range ?? response.headers.get('content-length')) || null
}

async function fetchOnce(url: string, { http, part, onBytes, signal }: Transfer): Promise<void> {
  const before = await resumable(url, part)
  const headers = { 'accept-encoding': 'identity', ...(before && { range: `bytes=${before.from}-`, 'if-range': before.validator }) }
  const response = await http.send(url, { headers }, signal, null)
  if (response.status === 416) {
    await rm(part, { force: true }) // the partial file is longer than the file: not its beginning
    throw brokenOff(url, 0, null)
  }
  if (meaningOf(response) !== 'ok' || !response.body) throw refusal(url, response)
  const start = response.status === 206 && before ? before.from : 0
  const total = totalOf(response)
  const validator = validatorOf(response)
  if (validator) await writeAtomic(infoOf(part), JSON.stringify({ url, validator }))
  const file = await open(part, start > 0 ? 'a' : 'w')
  let done = start
  try {
    for await (const chunk of response.body) {
      const bytes = chunk as Uint8Array
      await file.write(bytes)
      done += bytes.byteLength
      onBytes(done, total)
    }
  } catch (error) {
    if (signal.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
    const disk = asDiskError(error)
    throw disk instanceof BridgeError ? disk : brokenOff(url, done, total, error)
  } finally {
    await file.close()
  }
  if (total !== null && done !== total) throw brokenOff(url, done, total)
}

function refusal(url: string, response: Response): BridgeError {
  const meaning = meaningOf(response)
  const after = Number(response.headers.get('retry-after')) || null
  if (meaning === 'limited') {
    const { message, details } = answerError(url, response)
    return new BridgeError('RATE_LIMITED', message, { details: { ...details, retry: after === null || after <= 30, after } })
  }
  return new BridgeError('DOWNLOAD_FAILED', `${redact(url)} answered HTTP ${response.status}.`, {
    details: { status: response.status, retry: meaning === 'broken', after },
  })
}

async function fetchWithRetries(url: string, transfer: Transfer): Promise<void> {
  // a server's Retry-After counts instead of our wait, up to 30 s
  for (const wait of [...transfer.http.retryWaitsMs, null]) {
    try {
      return await fetchOnce(url, transfer)
    } catch (error) {
      const again = error instanceof BridgeError && (error.details?.retry === true || error.code === 'SOURCE_UNREACHABLE')
      if (!again || wait === null) throw error
      const after = typeof error.details?.after === 'number' ? error.details.after * 1000 : wait
      await delay(after, undefined, { signal: transfer.signal }).catch(() => {
        throw new BridgeError('CANCELLED', 'Cancelled.')
      })
    }
  }
}

/** From the address, else from its mirrors; the hash decides whether a mirror told the truth. */
async function fetchFromAny(wanted: Wanted, transfer: Transfer): Promise<void> {
  try {
    await transfer.http.fromAny(wanted.url, (address) => fetchWithRetries(address, transfer))
  } catch (error) {
    const unreached = error instanceof BridgeError && error.code === 'SOURCE_UNREACHABLE'
    throw unreached ? new BridgeError('DOWNLOAD_FAILED', error.message, { cause: error }) : error
  }
}

/** Folder of the cache where a wheel lies: by its content where that is known, else by its address. */
function cacheFolder({ url, sha256 }: Wanted, cache: string): string {
  const key = sha256 ?? createHash('sha256').update(url).digest('hex')
  return join(wheelsIn(cache), key.slice(0, 32))
}

async function fetchInto(path: string, wanted: Wanted, http: Http, onBytes: OnBytes, signal: AbortSignal): Promise<string> {
  const ready = await stat(path).catch(() => null)
  // an address whose content nobody promised may hold another file by now, unless it cannot be asked
  const usable = ready && (wanted.sha256 === null ? http.isOffline : (await sha256Of(path)) === wanted.sha256)
  if (usable) return path
  const part = `${path}.part`
  refuseNoFile(part, await stat(part).catch(() => null))
  try {
    if (wanted.url.startsWith('file:')) await copyFile(fileURLToPath(wanted.url), part)
    else await fetchFromAny(wanted, { http, part, onBytes, signal })
    await refuseNonWheel(part, wanted)
    const found = await sha256Of(part)
    if (wanted.sha256 !== null && found !== wanted.sha256) {
      throw new BridgeError('HASH_MISMATCH', `${wanted.filename} has another content than its source promised.`, {
        details: { expected: wanted.sha256, found },
      })
    }
    await rename(part, path)
    await rm(infoOf(part), { force: true })
    return path
  } catch (thrown) {
    const error = asDiskError(thrown)
    // what a broken connection or a cancel leaves is gone on with next time; anything else was worth nothing
    const keep = error instanceof BridgeError && ['DOWNLOAD_FAILED', 'CANCELLED', 'RATE_LIMITED'].includes(error.code)
    if (!keep) await Promise.all([part, infoOf(part)].map((file) => rm(file, { force: true })))
    throw error
  }
}

/**
 * Brings a wheel into the cache and returns its path. It lands under its name only when it is whole, a wheel, and the one that
 * was promised. A broken download goes on where it stopped, in this try and in later ones.
 */
export async function fetchWheel(wanted: Wanted, cache: string, http: Http, onBytes: OnBytes, signal: AbortSignal): Promise<string> {
  const folder = cacheFolder(wanted, cache)
  try {
    await mkdir(folder, { recursive: true })
    await markFolder(folder, 'wheel', basename(folder)).catch(() => undefined) // of a cache that can only be read
  } catch (error) {
    throw asDiskError(error)
  }
  const lock = lockIn(cache, `wheels-${basename(folder).slice(0, 2)}`) // lock files stay: 256 for all wheels
  return withLock(lock, { signal }, () => fetchInto(join(folder, wanted.filename), wanted, http, onBytes, signal))
}

/** Held together by all who install out of the cache, and alone by who deletes from it. */
export const cacheLock = (cache: string): string => lockIn(cache, 'in-use')
