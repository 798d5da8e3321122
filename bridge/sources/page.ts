import { z } from 'zod'
import { BridgeError } from '../errors/bridgeError'
import { redact } from '../resolve/candidate'
import type { Page } from './http'

/** The largest pages have a few ten thousand files. */
const MOST_FILES = 100_000
/** No server takes a longer address, and no file system a longer name. */
const LONGEST_ADDRESS = 8192
const LONGEST_NAME = 255

/** A hash as pages tell it: it becomes a folder's name in the cache. */
export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/i).toLowerCase()

/** A page that answers with something else than it should, as its source's error. */
export const oddPage = ({ url }: Pick<Page, 'url'>, what: string, cause?: unknown): BridgeError =>
  new BridgeError('SOURCE_UNREACHABLE', `${redact(url)} answered with ${what}.`, { details: { url: redact(url) }, cause })

export const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** A size as a page tells it; null for what is none. */
export const sizeOf = (value: unknown): number | null => (Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : null)

/** The value of a JSON page. Throws SOURCE_UNREACHABLE for a page that is none. */
export function parseJson(page: Page): unknown {
  try {
    return JSON.parse(page.text)
  } catch (cause) {
    throw oddPage(page, 'a page that is no JSON', cause)
  }
}

/** Refuses a page of more files than are looked at: each is kept in memory. */
export function refuseMore(count: number, page: Page): void {
  if (count > MOST_FILES) throw oddPage(page, `a list of more than ${MOST_FILES} files`)
}

/** An address of a page that leads to a wheel; null: to something else, or nowhere. */
export function wheelAt(href: string, { url }: Page): URL | null {
  const target = href.length <= LONGEST_ADDRESS ? URL.parse(href, url) : null
  const name = target?.pathname.split('/').at(-1) ?? ''
  return target && /\.whl$/i.test(name) && name.length <= LONGEST_NAME ? target : null
}
