import type { Fingerprint } from '../../schemas/host'

/**
 * How an address is read. `template`: an address with variables; `page`: links (find-links); `index`: PEP 503 or 691, or a page of
 * links where there is no such project; `manifest`: a `packages.json`; `releases`: a GitHub repository's releases; `default`: a
 * name in the package index that uv uses anyway.
 */
export type SourceKind = 'folder' | 'template' | 'page' | 'index' | 'manifest' | 'releases' | 'default'

/** A place that offers wheels. */
export interface Source {
  kind: SourceKind
  /** An address, a folder, or (`default`) a package name; may hold template variables. */
  address: string
  /** Versions of the package for which the address holds; null: all. */
  versions: string | null
  /** Systems that it has wheels for; null: all. */
  os: readonly Fingerprint['platform']['os'][] | null
  /** Spellings of this publisher that go before the usual values of a variable. */
  values: Readonly<Record<string, string[]>>
  /** A node pack names it: its links may lead to known hosts and its own only. */
  byPack: boolean
}

const GITHUB_RELEASES = /^https?:\/\/[^/]+\/[^/]+\/[^/]+\/releases(\/download)?\/?$/

/** How to read an address that a user or a node pack names. */
export function sourceKind(address: string): SourceKind {
  const isUrl = /^[a-z][a-z0-9+.-]+:\/\//i.test(address)
  if (!address.includes('{') && (!isUrl || address.startsWith('file:')) && !/\.whl$/i.test(address)) return 'folder'
  const path = address.split(/[?#]/)[0] ?? ''
  if (/\.whl$/i.test(path)) return 'template'
  if (/\.html?$/i.test(path)) return 'page'
  if (/\/packages\.json$/i.test(path)) return 'manifest'
  if (GITHUB_RELEASES.test(path)) return 'releases'
  return address.includes('{') ? 'template' : 'index'
}

export function sourceOf(address: string, byPack = false): Source {
  return { kind: sourceKind(address), address, versions: null, os: null, values: {}, byPack }
}
