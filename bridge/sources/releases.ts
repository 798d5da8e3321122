import { z } from 'zod'
import { BridgeError } from '../errors/bridgeError'
import { candidateOf, redact, type Candidate } from '../resolve/candidate'
import type { Page } from './http'
import { parseJson, refuseMore, sizeOf, wheelAt } from './page'

const Release = z.looseObject({ draft: z.boolean().optional(), assets: z.array(z.unknown()) })
const Asset = z.looseObject({ name: z.string(), browser_download_url: z.string(), size: z.number().optional(), digest: z.string().nullish() })

const MOST_PAGES = 10

/**
 * Where GitHub lists a repository's releases (REST API, "List releases"). Another host than github.com is taken for a GitHub
 * Enterprise server, whose API lies below `/api/v3`.
 */
export function listingAddress(source: string): string {
  const [, origin = '', owner = '', repo = ''] = /^(https?:\/\/[^/]+)\/([^/]+)\/([^/]+)\/releases/.exec(source) ?? []
  const api = origin === 'https://github.com' ? 'https://api.github.com' : `${origin}/api/v3`
  return `${api}/repos/${owner}/${repo}/releases?per_page=100`
}

/** Tags that publishers use below `releases/download/`: a rolling one for each package, one for each combination, one for each version. */
const TAGS = ['{package_us}-latest', 'cu{cuda_short}-torch{torch_short}', 'v{version}']

/** Templates below a `…/releases/download/` base, which spare a request to the API where one of them is there. */
export function tagTemplates(source: string): string[] {
  return /\/releases\/download\/?$/.test(source) ? TAGS.map((tag) => `${source.replace(/\/?$/, '/')}${tag}/`) : []
}

function wheelOf(asset: unknown, page: Page, source: string): Candidate[] {
  const { browser_download_url: address, size, digest } = Asset.parse(asset)
  const target = wheelAt(address, page)
  const sha256 = /^sha256:([0-9a-f]{64})$/.exec(digest ?? '')?.[1] ?? null
  return target ? [candidateOf(target.href, source, { sha256, bytes: sizeOf(size) })] : []
}

/** What is wrong in a page is told by its first fault: a list of millions has as many. */
function assets(page: Page, source: string): Candidate[] {
  try {
    const found: Candidate[] = []
    for (const one of z.array(z.unknown()).parse(parseJson(page))) {
      const release = Release.parse(one)
      for (const asset of release.draft ? [] : release.assets) refuseMore(found.push(...wheelOf(asset, page, source)), page)
    }
    return found
  } catch (cause) {
    throw new BridgeError('SOURCE_UNREACHABLE', `${redact(source)} did not answer with a list of releases.`, { cause })
  }
}

/** Every wheel in a repository's releases. `ask` gets a page, and keeps it with its ETag. */
export async function releaseWheels(source: string, ask: (url: string) => Promise<Page | null>): Promise<Candidate[]> {
  const found: Candidate[] = []
  let next: string | null = listingAddress(source)
  for (let count = 0; next && count < MOST_PAGES; count++) {
    const page: Page | null = await ask(next)
    if (!page) throw new BridgeError('SOURCE_UNREACHABLE', `There is no repository at ${redact(source)} (HTTP 404).`)
    found.push(...assets(page, source))
    next = page.next
  }
  return found
}
