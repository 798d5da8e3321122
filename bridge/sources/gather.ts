import { BridgeError } from '../errors/bridgeError'
import { candidateOf, redact, type Candidate } from '../resolve/candidate'
import { normalizeName, type Requirement } from '../resolve/requirement'
import type { Target } from '../resolve/target'
import { fillName, fillTemplate } from '../resolve/template'
import { meets } from '../resolve/versions'
import { isAllowedHost } from './allowedHosts'
import { folderWheels } from './folder'
import type { Http, Page } from './http'
import { pageLinks } from './links'
import { manifestWheels } from './manifest'
import { releaseWheels, tagTemplates } from './releases'
import type { Source } from './source'

/** Wheels of one source, and what went wrong while asking it. */
export interface Gathered {
  candidates: Candidate[]
  errors: BridgeError[]
}

/** What an address has, asked for once in a resolution, however many requirements and machines look at it. */
export type PageCache = Map<string, Promise<Candidate[] | null>>

/** Asks the package index that uv uses for a package's newest fitting wheels. */
export type DefaultIndex = (requirement: Requirement, target: Target, signal?: AbortSignal) => Promise<Candidate[]>

export interface GatherOptions {
  http: Http
  /** Ask whether a template's file exists; otherwise it is taken on trust. */
  verify: boolean
  pages: PageCache
  /** Hosts beyond the known publishers that a pack's sources may lead to. */
  allowedHosts: readonly string[]
  defaultIndex: DefaultIndex
  signal?: AbortSignal
}

interface Question {
  source: Source
  requirement: Requirement
  target: Target
  options: GatherOptions
}

/** A template without a file name means the usual ones of the Python library comfyui-envmanager and of those after it. */
const USUAL_NAMES = ['torch_mm', 'torch_mm_dot'].map(
  (torch) => `{package_us}-{version}+cu{cuda_short}torch{${torch}}-{py_tag}-{abi_tag}-{platform}.whl`,
)

async function templateWheels(address: string, { source, requirement, target, options }: Question): Promise<Candidate[]> {
  const whole = /\.whl$/i.test(address)
  const forms = whole ? [address] : USUAL_NAMES.map((name) => `${address.replace(/\/?$/, '/')}${name}`)
  // what is taken on trust is the plainest spelling: of several, the best rated would be the least likely one
  const spellings = options.verify ? undefined : 1
  const addresses = [...new Set(forms.flatMap((form) => fillTemplate(form, requirement, target, source.values).slice(0, spellings)))]
  return Promise.all(
    addresses.map(async (url) => {
      const ask = async (): Promise<Candidate[] | null> => ((await options.http.exists(url, options.signal)) ? [] : null)
      const missing = options.verify && (await onceFor(`file ${url}`, options, ask)) === null
      return candidateOf(url, source.address, { missing })
    }),
  )
}

/** Asks for an address once in a resolution; null if it is not there. A failure is asked again, not remembered. */
function onceFor(url: string, { pages }: GatherOptions, ask: () => Promise<Candidate[] | null>): Promise<Candidate[] | null> {
  const known = pages.get(url)
  if (known) return known
  const asked = ask()
  pages.set(url, asked)
  asked.catch(() => pages.delete(url))
  return asked
}

/** The wheels of a page; null if it is not there. */
function readPage(url: string, source: string, read: (page: Page, source: string) => Candidate[], options: GatherOptions): Promise<Candidate[] | null> {
  return onceFor(url, options, async () => {
    const page = await options.http.page(url, options.signal)
    return page && read(page, source)
  })
}

async function pageWheels(url: string, { source, requirement, options }: Question): Promise<Candidate[]> {
  if (source.kind === 'index') {
    const project = await readPage(`${url.replace(/\/?$/, '/')}${requirement.name}/`, source.address, pageLinks, options)
    if (project) return project
  }
  const flat = await readPage(url, source.address, source.kind === 'manifest' ? manifestWheels : pageLinks, options)
  if (!flat) throw new BridgeError('SOURCE_UNREACHABLE', `${url} is not there (HTTP 404).`)
  return flat
}

/** Tries the tags that publishers use, and asks GitHub's API only if none of them is there. */
async function releases(question: Question): Promise<Candidate[]> {
  const { source, options } = question
  const tries = tagTemplates(source.address).map((address) => templateWheels(address, question).catch(ignoreUnfilled))
  const guessed = (await Promise.all(tries)).flat().filter(({ missing }) => !missing)
  if (guessed.length > 0 && options.verify) return guessed
  return releaseWheels(source.address, (url) => options.http.page(url, options.signal, 'application/vnd.github+json'))
}

/** A machine that cannot fill a variable has no such address to try. */
function ignoreUnfilled(error: unknown): Candidate[] {
  if (error instanceof BridgeError && error.code === 'TEMPLATE_VARIABLE') return []
  throw error
}

function filledAddresses({ source, requirement, target }: Question): string[] {
  return source.address.includes('{') ? fillTemplate(source.address, requirement, target, source.values) : [source.address]
}

async function one(question: Question): Promise<Candidate[]> {
  const { source, requirement, target, options } = question
  switch (source.kind) {
    case 'folder':
      return folderWheels(source.address)
    case 'template':
      return templateWheels(source.address, question)
    case 'releases':
      return releases(question)
    case 'default': {
      const name = normalizeName(fillName(source.address, requirement, target))
      return options.defaultIndex({ ...requirement, name }, target, options.signal)
    }
    default:
      return (await Promise.all(filledAddresses(question).map((url) => pageWheels(url, question)))).flat()
  }
}

/** Marks what a pack's source offers from hosts that nobody has agreed to. */
function markForeign(candidates: Candidate[], { address, byPack }: Source, allowed: readonly string[]): Candidate[] {
  const own = URL.parse(address)?.host
  const isForeign = ({ url }: Candidate): boolean => byPack && URL.parse(url)?.host !== own && !isAllowedHost(url, allowed)
  return candidates.map((candidate) => (isForeign(candidate) ? Object.assign({}, candidate, { foreignHost: true }) : candidate))
}

/** A publisher's address may hold for some systems and some versions only. */
function applies({ os, versions }: Source, requirement: Requirement, target: Target): boolean {
  const exact = /^===?([^,*]+)$/.exec(requirement.specifier)?.[1]
  const rightVersion = versions === null || exact === undefined || meets(exact, versions)
  return rightVersion && (os === null || os.includes(target.fingerprint.platform.os))
}

/** Names under which a package is published: some carry their CUDA (`spconv-cu126` is spconv). */
function isOf({ name, filename }: Candidate, requirement: Requirement): boolean {
  const named = name?.package ?? normalizeName(filename.split('-')[0] ?? '')
  return named === requirement.name || named.replace(/-cu\d{2,3}$/, '') === requirement.name
}

/** Whatever reading a source throws is that source's error: the others are looked at all the same. */
function asSourceError(error: unknown, { address }: Source): BridgeError {
  if (error instanceof BridgeError) return error
  const why = error instanceof Error ? error.message : String(error)
  return new BridgeError('SOURCE_UNREACHABLE', `${redact(address)} cannot be read: ${why.slice(0, 200)}.`, { cause: error })
}

/** Every wheel of the requirement's package that the sources offer. A source that fails is noted and does not hide the others. */
export async function gather(sources: readonly Source[], requirement: Requirement, target: Target, options: GatherOptions): Promise<Gathered> {
  const errors: BridgeError[] = []
  const asked = sources.filter((source) => applies(source, requirement, target))
  const lists = await Promise.all(
    asked.map((source) =>
      one({ source, requirement, target, options }).then((found) => markForeign(found, source, options.allowedHosts)).catch((error: unknown) => {
        if (error instanceof BridgeError && error.code === 'CANCELLED') throw error
        errors.push(asSourceError(error, source))
        return []
      }),
    ),
  )
  const found = new Map<string, Candidate>()
  for (const candidate of lists.flat()) if (isOf(candidate, requirement) && !found.has(candidate.url)) found.set(candidate.url, candidate)
  return { candidates: [...found.values()], errors }
}
