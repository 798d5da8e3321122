import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { EnvHttpProxyAgent, fetch, Headers, ProxyAgent, type RequestInit, type Response } from 'undici'
import { z } from 'zod'
import { BridgeError } from '../errors/bridgeError'
import { readCached, writeAtomic } from '../files'
import { redact } from '../resolve/candidate'
import { limitedText } from './body'
import { MOST_REDIRECTS, redirectProblem } from './redirects'

/** How the network may be used; from the user's settings. */
export interface NetSettings {
  /** Address of a proxy; null: `HTTPS_PROXY` and its kin. */
  proxy: string | null
  /** Address prefix → other prefix with the same files, tried when the first does not answer. */
  mirrors: readonly (readonly [string, string])[]
  offline: boolean
  /** Folder of the page cache. */
  cache: string
  /** For GitHub's API; raises its limit from 60 requests an hour. */
  githubToken: string | null
  /** Waits before the second and later tries of a broken download. */
  retryWaitsMs?: readonly number[]
  /** How long an answer may take, a page to its end. */
  patienceMs?: number
}

const CachedPage = z.object({
  url: z.string(),
  contentType: z.string(),
  text: z.string(),
  etag: z.string().nullable(),
  modified: z.string().nullable(),
  next: z.string().nullable(),
  absent: z.boolean().describe('there was no such page'),
})
export type Page = Pick<z.infer<typeof CachedPage>, 'url' | 'contentType' | 'text' | 'next'>

const PAGE_LIMIT = 64 * 1024 * 1024
const TIMEOUT_MS = 20_000
/** PEP 691: JSON first, HTML as well. */
const ACCEPT = 'application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.9, text/html;q=0.8, */*;q=0.1'

type Meaning = 'ok' | 'absent' | 'refused' | 'limited' | 'broken'

/** What an HTTP answer means for a source: only 404 and 410 say that a thing is not there. GitHub limits with 403 as well. */
export function meaningOf({ status, headers }: Response): Meaning {
  if (status >= 200 && status < 300) return 'ok'
  if (status === 404 || status === 410) return 'absent'
  if (status === 429 || (status === 403 && headers.get('x-ratelimit-remaining') === '0')) return 'limited'
  return status >= 400 && status < 500 ? 'refused' : 'broken'
}

function until({ headers }: Response): string {
  const after = Number(headers.get('retry-after'))
  const reset = Number(headers.get('x-ratelimit-reset')) * 1000 || (after ? Date.now() + after * 1000 : 0)
  return reset ? ` until ${new Date(reset).toISOString().slice(11, 16)} UTC` : ''
}

/** An answer that is neither the thing nor "not there", as the error it is. */
export function answerError(url: string, response: Response): BridgeError {
  const meaning = meaningOf(response)
  const details = { url: redact(url), status: response.status }
  if (meaning === 'limited') {
    return new BridgeError('RATE_LIMITED', `${redact(url)} asks to slow down (HTTP ${response.status})${until(response)}.`, { details })
  }
  const says = meaning === 'refused' ? 'refuses access' : 'has an error of its own'
  return new BridgeError('SOURCE_UNREACHABLE', `${redact(url)} ${says} (HTTP ${response.status}).`, { details })
}

function offline(url: string): BridgeError {
  return new BridgeError('OFFLINE', `${redact(url)} was not asked: offline mode is on, and no copy of it is kept.`, { details: { url: redact(url) } })
}

/** A size is worth this short a wait: a preview without it is better than none. */
const SIZE_MS = 3000

/** All requests of the bridge: one proxy setting, mirrors, pages kept with their ETag, and an offline switch. */
export class Http {
  readonly #net: NetSettings
  readonly #agent: ProxyAgent | EnvHttpProxyAgent

  constructor(net: NetSettings) {
    this.#net = net
    this.#agent = net.proxy ? new ProxyAgent(net.proxy) : new EnvHttpProxyAgent()
  }

  get retryWaitsMs(): readonly number[] {
    return this.#net.retryWaitsMs ?? [300, 1000, 3000]
  }

  get #patienceMs(): number {
    return this.#net.patienceMs ?? TIMEOUT_MS
  }

  get isOffline(): boolean {
    return this.#net.offline
  }

  /**
   * Does something with an address, or with the first of its mirrors that serves. What no mirror mends (a cancel, a full disk,
   * offline mode) ends it at once; if all fail, the address's own failure counts.
   */
  async fromAny<T>(url: string, work: (address: string) => Promise<T>): Promise<T> {
    const others = this.#net.mirrors.filter(([from]) => url.startsWith(from)).map(([from, to]) => to + url.slice(from.length))
    let failure: unknown
    for (const address of [url, ...others]) {
      try {
        return await work(address)
      } catch (error) {
        if (error instanceof BridgeError && ['CANCELLED', 'DISK_FULL', 'OFFLINE'].includes(error.code)) throw error
        failure ??= error
      }
    }
    throw failure
  }

  /** One request of one address. Throws CANCELLED, OFFLINE, or SOURCE_UNREACHABLE where no answer came. */
  async send(url: string, init: RequestInit = {}, signal?: AbortSignal, timeoutMs: number | null = TIMEOUT_MS): Promise<Response> {
    if (this.#net.offline) throw offline(url)
    const limits = [...(timeoutMs === null ? [] : [AbortSignal.timeout(timeoutMs)]), ...(signal ? [signal] : [])]
    try {
      return await this.#follow(url, { ...init, ...(limits.length > 0 && { signal: AbortSignal.any(limits) }) })
    } catch (cause) {
      if (cause instanceof BridgeError) throw cause
      if (signal?.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
      const why = isLate(cause) ? `did not answer within ${(timeoutMs ?? 0) / 1000} s` : `cannot be reached${reasonOf(cause)}`
      throw new BridgeError('SOURCE_UNREACHABLE', `${redact(url)} ${why}.`, { details: { url: redact(url) }, cause })
    }
  }

  /** Follows redirects by our rules, not by fetch's. What authorizes a request stays with the host that it was for. */
  async #follow(first: string, init: RequestInit): Promise<Response> {
    let [url, headers] = [first, new Headers(init.headers)]
    for (let hops = 0; ; hops++) {
      const response = await fetch(url, { ...init, headers, redirect: 'manual', dispatcher: this.#agent })
      const location = response.status >= 300 && response.status < 400 ? response.headers.get('location') : null
      if (location === null) return response
      await response.body?.cancel()
      const next = URL.parse(location, url)
      const problem = next === null ? 'to no address' : redirectProblem(new URL(url), next)
      const where = `${redact(first)} leads`
      if (next === null || problem) throw new BridgeError('SOURCE_UNREACHABLE', `${where} ${next ? `to ${redact(next.href)}` : 'on'}, and that is not followed: ${problem}.`)
      if (hops === MOST_REDIRECTS) throw new BridgeError('SOURCE_UNREACHABLE', `${where} on more than ${MOST_REDIRECTS} times.`)
      if (next.origin !== new URL(url).origin) headers = withoutAuthority(headers)
      url = next.href
    }
  }

  /** Gets a page, from its mirrors if need be; null if it is not there. A copy is kept and asked for again by its ETag. */
  page(url: string, signal?: AbortSignal, accept = ACCEPT): Promise<Page | null> {
    return this.fromAny(url, (address) => this.#onePage(address, accept, signal))
  }

  async #onePage(url: string, accept: string, signal?: AbortSignal): Promise<Page | null> {
    const path = join(this.#net.cache, 'pages', `${createHash('sha256').update(`${accept}\n${url}`).digest('hex')}.json`)
    const kept = await readCached(path, CachedPage)
    if (this.#net.offline) {
      if (kept) return kept.absent ? null : kept
      throw offline(url)
    }
    const response = await this.send(url, { headers: { accept, ...this.#authority(url), ...conditions(kept) } }, signal, this.#patienceMs)
    if (response.status === 304 && kept) return kept
    const meaning = meaningOf(response)
    const keep = (entry: z.infer<typeof CachedPage>): Promise<void> => writeAtomic(path, JSON.stringify(entry)).catch(() => undefined) // a full disk loses the copy only
    if (meaning === 'absent') {
      await keep({ url, contentType: '', text: '', next: null, etag: null, modified: null, absent: true })
      return null
    }
    if (meaning !== 'ok') throw answerError(url, response)
    const text = await limitedText(response, PAGE_LIMIT).catch((cause: unknown) => {
      if (signal?.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
      const why = isLate(cause) ? `did not come to its end within ${this.#patienceMs / 1000} s` : 'broke off'
      throw new BridgeError('SOURCE_UNREACHABLE', `${redact(url)} ${why}.`, { cause })
    })
    if (text === null) throw new BridgeError('SOURCE_UNREACHABLE', `${redact(url)} is larger than 64 MB.`)
    const { headers } = response
    const page = { url: response.url || url, contentType: headers.get('content-type') ?? '', text, next: nextOf(response, url) }
    await keep({ ...page, etag: headers.get('etag'), modified: headers.get('last-modified'), absent: false })
    return page
  }

  #authority(url: string): Record<string, string> {
    const { githubToken } = this.#net
    return githubToken && url.startsWith('https://api.github.com/') ? { authorization: `Bearer ${githubToken}` } : {}
  }

  /** A file's size in bytes as its server says; null if it does not, or not at once. */
  async bytes(url: string, signal?: AbortSignal): Promise<number | null> {
    const response = await this.fromAny(url, (address) => this.send(address, { method: 'HEAD' }, signal, SIZE_MS)).catch(() => null)
    return (response?.ok && Number(response.headers.get('content-length'))) || null
  }

  /** Whether there is a file. */
  exists(url: string, signal?: AbortSignal): Promise<boolean> {
    return this.fromAny(url, (address) => this.#isThere(address, signal))
  }

  /** Asks for a file's first byte where HEAD is refused. */
  async #isThere(url: string, signal?: AbortSignal): Promise<boolean> {
    let response = await this.send(url, { method: 'HEAD' }, signal)
    if ([403, 405, 501].includes(response.status)) {
      response = await this.send(url, { headers: { range: 'bytes=0-0' } }, signal)
      await response.body?.cancel()
    }
    const meaning = meaningOf(response)
    if (meaning === 'ok' || meaning === 'absent') return meaning === 'ok'
    throw answerError(url, response)
  }
}

const isLate = (cause: unknown): boolean => cause instanceof Error && cause.name === 'TimeoutError'

/** The page that follows, of the same server; null: none. */
function nextOf({ headers, url: own }: Response, asked: string): string | null {
  const next = /<([^<>]+)>;\s*rel="next"/.exec(headers.get('link') ?? '')?.[1]
  const base = new URL(own || asked)
  const target = next === undefined ? null : URL.parse(next, base)
  return target?.origin === base.origin ? target.href : null
}

function conditions(kept: z.infer<typeof CachedPage> | null): Record<string, string> {
  return {
    ...(kept?.etag && { 'if-none-match': kept.etag }),
    ...(kept?.modified && { 'if-modified-since': kept.modified }),
  }
}

function withoutAuthority(headers: Headers): Headers {
  const kept = new Headers(headers)
  kept.delete('authorization')
  return kept
}

/** The system's word for why no connection came about, in brackets. */
function reasonOf(cause: unknown): string {
  const inner = cause instanceof Error ? cause.cause : undefined
  const code = inner instanceof Error && 'code' in inner ? inner.code : undefined
  return typeof code === 'string' ? ` (${code})` : ''
}
