import { z } from 'zod'
import { BridgeError } from '../errors/bridgeError'
import { candidateOf, redact, type Candidate } from '../resolve/candidate'
import type { Page } from './http'

const Releases = z.array(
  z.looseObject({
    draft: z.boolean().optional(),
    assets: z.array(
      z.looseObject({ name: z.string(), browser_download_url: z.string(), size: z.number().optional(), digest: z.string().nullish() }),
    ),
  }),
)

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

function assets({ text }: Page, source: string): Candidate[] {
  const parsed = Releases.safeParse(JSON.parse(text))
  if (!parsed.success) throw new BridgeError('SOURCE_UNREACHABLE', `${redact(source)} did not answer with a list of releases.`)
  return parsed.data
    .filter(({ draft }) => !draft)
    .flatMap((release) => release.assets)
    .filter(({ name }) => name.toLowerCase().endsWith('.whl'))
    .map(({ browser_download_url: url, size, digest }) => {
      const sha256 = /^sha256:([0-9a-f]{64})$/.exec(digest ?? '')?.[1] ?? null
      return candidateOf(url, source, { sha256, bytes: size ?? null })
    })
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
