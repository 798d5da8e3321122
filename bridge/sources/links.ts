import { candidateOf, type Candidate } from '../resolve/candidate'
import { anchors } from './html'
import type { Page } from './http'
import { isObject, oddPage, parseJson, refuseMore, Sha256, sizeOf, wheelAt } from './page'

/** Anchors of a find-links page or a simple index page (PEP 503), with `data-yanked` (PEP 592). */
function htmlLinks(page: Page, source: string): Candidate[] {
  const found: Candidate[] = []
  for (const attributes of anchors(page.text)) {
    const target = wheelAt(attributes.get('href') ?? '', page)
    if (!target) continue
    const metadataUrl = attributes.has('data-core-metadata') || attributes.has('data-dist-info-metadata') ? metadataOf(target) : null
    refuseMore(found.push(candidateOf(target.href, source, { yanked: attributes.has('data-yanked'), metadataUrl })), page)
  }
  return found
}

/** Where an index that offers a wheel's METADATA alone has it (PEP 658). */
const metadataOf = ({ origin, pathname }: URL): string => `${origin}${pathname}.metadata`

/** One file of a PEP 691 page. One that is described oddly is no wheel for us, and hides no other. */
function jsonFile(file: unknown, page: Page, source: string): Candidate[] {
  if (!isObject(file) || typeof file.url !== 'string') return []
  const target = wheelAt(file.url, page)
  const hash = Sha256.optional().safeParse(isObject(file.hashes) ? file.hashes.sha256 : undefined)
  if (!target || !hash.success) return []
  const metadataUrl = file['core-metadata'] || file['dist-info-metadata'] ? metadataOf(target) : null
  return [candidateOf(target.href, source, { sha256: hash.data ?? null, bytes: sizeOf(file.size), yanked: Boolean(file.yanked), metadataUrl })]
}

/** Files of a PEP 691 JSON page. */
function jsonFiles(page: Page, source: string): Candidate[] {
  const parsed = parseJson(page)
  const files = isObject(parsed) ? parsed.files : null
  if (!Array.isArray(files)) throw oddPage(page, 'JSON that lists no files (PEP 691)')
  refuseMore(files.length, page)
  return files.flatMap((file) => jsonFile(file, page, source))
}

/** The wheels that a page lists, JSON or HTML. Throws SOURCE_UNREACHABLE for what is neither. */
export function pageLinks(page: Page, source: string): Candidate[] {
  const { text, contentType } = page
  if (text.includes('\0')) throw oddPage(page, 'a file that is no page of text')
  const isJson = /\bjson\b/.test(contentType) || /^\s*[{[]/.test(text)
  return isJson ? jsonFiles(page, source) : htmlLinks(page, source)
}
