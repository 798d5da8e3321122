import { BridgeError } from '../errors/bridgeError'
import { redact } from '../resolve/candidate'

const PAGE_LIMIT = 64 * 1024 * 1024
const TIMEOUT_MS = 20_000
/** PEP 691: JSON first, HTML as well. */
const ACCEPT = 'application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.9, text/html;q=0.8'

export interface Page {
  url: string
  contentType: string
  text: string
}

function unreachable(url: string, why: string, cause?: unknown): BridgeError {
  return new BridgeError('SOURCE_UNREACHABLE', `${redact(url)} ${why}.`, { details: { url: redact(url) }, cause })
}

/** What an HTTP status means for a source: only 404 and 410 say that a thing is not there. */
export function statusMeaning(status: number): 'ok' | 'absent' | 'refused' | 'limited' | 'broken' {
  if (status >= 200 && status < 300) return 'ok'
  if (status === 404 || status === 410) return 'absent'
  if (status === 429) return 'limited'
  return status >= 400 && status < 500 ? 'refused' : 'broken'
}

const SAYS = { refused: 'refuses access', limited: 'asks to slow down', broken: 'has an error of its own' } as const

async function send(url: string, init: RequestInit, signal?: AbortSignal): Promise<Response> {
  const limit = AbortSignal.timeout(TIMEOUT_MS)
  try {
    return await fetch(url, { ...init, signal: signal ? AbortSignal.any([limit, signal]) : limit })
  } catch (cause) {
    if (signal?.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
    const late = cause instanceof Error && cause.name === 'TimeoutError'
    throw unreachable(url, late ? `did not answer within ${TIMEOUT_MS / 1000} s` : 'cannot be reached', cause)
  }
}

/** Gets a page; null if it is not there. Any other failure says which: refused, rate limited, broken, not reached. */
export async function getPage(url: string, signal?: AbortSignal): Promise<Page | null> {
  const response = await send(url, { headers: { accept: ACCEPT } }, signal)
  const meaning = statusMeaning(response.status)
  if (meaning === 'absent') return null
  if (meaning !== 'ok') throw unreachable(url, `${SAYS[meaning]} (HTTP ${response.status})`)
  const text = await response.text()
  if (text.length > PAGE_LIMIT) throw unreachable(url, 'is larger than 64 MB')
  return { url: response.url || url, contentType: response.headers.get('content-type') ?? '', text }
}

/** A size is worth this short a wait: a preview without it is better than none. */
const SIZE_MS = 3000

/** A file's size in bytes as its server says; null if it does not, or not at once. */
export async function fileBytes(url: string, signal?: AbortSignal): Promise<number | null> {
  const limit = AbortSignal.timeout(SIZE_MS)
  const response = await send(url, { method: 'HEAD' }, signal ? AbortSignal.any([limit, signal]) : limit).catch(() => null)
  return (response?.ok && Number(response.headers.get('content-length'))) || null
}

/** Whether there is a file. Asks for its first byte where HEAD is refused. */
export async function fileExists(url: string, signal?: AbortSignal): Promise<boolean> {
  let response = await send(url, { method: 'HEAD' }, signal)
  if (response.status === 405 || response.status === 501 || response.status === 403) {
    response = await send(url, { headers: { range: 'bytes=0-0' } }, signal)
    await response.body?.cancel()
  }
  const meaning = statusMeaning(response.status)
  if (meaning === 'ok' || meaning === 'absent') return meaning === 'ok'
  throw unreachable(url, `${SAYS[meaning]} (HTTP ${response.status})`)
}
