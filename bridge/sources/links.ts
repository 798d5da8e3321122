import { candidateOf, type Candidate } from '../resolve/candidate'
import type { Page } from './http'

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", '#43': '+', '#x2B': '+', '#x2b': '+' }

function unescapeHtml(text: string): string {
  return text.replace(/&(#?\w+);/g, (whole, entity: string) => ENTITIES[entity] ?? whole)
}

/** Anchors of a find-links page or a simple index page (PEP 503), with `data-yanked` (PEP 592). */
function htmlLinks({ text, url }: Page, source: string): Candidate[] {
  const found: Candidate[] = []
  for (const [, attributes = ''] of text.matchAll(/<a\b([^>]*)>/gi)) {
    const href = /\bhref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))/i.exec(attributes)
    const target = URL.parse(unescapeHtml(href?.[1] ?? href?.[2] ?? href?.[3] ?? ''), url)
    if (!target || !/\.whl$/i.test(target.pathname)) continue
    const metadataUrl = /\bdata-(?:core|dist-info)-metadata\b/i.test(attributes) ? metadataOf(target) : null
    found.push(candidateOf(target.href, source, { yanked: /\bdata-yanked\b/i.test(attributes), metadataUrl }))
  }
  return found
}

/** Where an index that offers a wheel's METADATA alone has it (PEP 658). */
const metadataOf = ({ origin, pathname }: URL): string => `${origin}${pathname}.metadata`

interface SimpleFile {
  filename?: unknown
  url?: unknown
  hashes?: { sha256?: unknown }
  yanked?: unknown
  size?: unknown
  'core-metadata'?: unknown
  'dist-info-metadata'?: unknown
}

/** Files of a PEP 691 JSON page. */
function jsonFiles({ text, url }: Page, source: string): Candidate[] {
  const { files } = JSON.parse(text) as { files?: SimpleFile[] }
  return (files ?? []).flatMap((file) => {
    const target = typeof file.url === 'string' ? URL.parse(file.url, url) : null
    if (!target || !/\.whl$/i.test(target.pathname)) return []
    const sha256 = typeof file.hashes?.sha256 === 'string' ? file.hashes.sha256.toLowerCase() : null
    const metadataUrl = file['core-metadata'] || file['dist-info-metadata'] ? metadataOf(target) : null
    const bytes = typeof file.size === 'number' ? file.size : null
    return [candidateOf(target.href, source, { sha256, bytes, yanked: Boolean(file.yanked), metadataUrl })]
  })
}

/** The wheels that a page lists, JSON or HTML. */
export function pageLinks(page: Page, source: string): Candidate[] {
  return /\bjson\b/.test(page.contentType) ? jsonFiles(page, source) : htmlLinks(page, source)
}
