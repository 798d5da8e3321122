import { readdir } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { BridgeError } from '../errors/bridgeError'
import { candidateOf, type Candidate } from '../resolve/candidate'
import type { Requirement } from '../resolve/requirement'
import type { Target } from '../resolve/target'
import { fillTemplate } from '../resolve/template'
import { fileExists, getPage, type Page } from './http'
import { pageLinks } from './links'

/** How a source's address is read. */
export type SourceKind = 'folder' | 'template' | 'page' | 'index'

/** Wheels of one source, and what went wrong while asking it. */
export interface Gathered {
  candidates: Candidate[]
  errors: BridgeError[]
}

/** One page is asked for once in a resolution, however many requirements look at it. */
export type PageCache = Map<string, Promise<Page | null>>

export interface GatherOptions {
  /** Ask whether a template's file exists; otherwise it is taken on trust. */
  verify: boolean
  pages: PageCache
  signal?: AbortSignal
}

/** Handbook wheels.md §1.2: a template has a variable or names a wheel; `.html` is a page of links; the rest is an index. */
export function sourceKind(source: string): SourceKind {
  if (!/^[a-z][a-z0-9+.-]+:\/\//i.test(source) && !source.includes('{')) return 'folder'
  if (source.startsWith('file:') && !source.includes('{')) return 'folder'
  if (source.includes('{') || /\.whl$/i.test(source)) return 'template'
  return /\.html?$/i.test(source.split('?')[0] ?? '') ? 'page' : 'index'
}

async function folder(source: string): Promise<Candidate[]> {
  const path = source.startsWith('file:') ? fileURLToPath(source) : source
  if (!isAbsolute(path)) throw new BridgeError('SOURCE_UNREACHABLE', `The wheel folder \`${path}\` is not an absolute path.`)
  try {
    const names = await readdir(path)
    const wheels = names.filter((name) => name.toLowerCase().endsWith('.whl'))
    return wheels.map((name) => candidateOf(pathToFileURL(join(path, name)).href, source))
  } catch (cause) {
    throw new BridgeError('SOURCE_UNREACHABLE', `The wheel folder \`${path}\` cannot be read.`, { cause })
  }
}

/** A template without a file name means the usual one of the Python library comfyui-envmanager. */
const USUAL_NAMES = ['torch_mm', 'torch_mm_dot'].map(
  (torch) => `{package_us}-{version}+cu{cuda_short}torch{${torch}}-{py_tag}-{abi_tag}-{platform}.whl`,
)

async function template(source: string, requirement: Requirement, target: Target, options: GatherOptions): Promise<Candidate[]> {
  const whole = /\.whl$/i.test(source)
  const forms = whole ? [source] : USUAL_NAMES.map((name) => `${source.replace(/\/?$/, '/')}${name}`)
  const addresses = [...new Set(forms.flatMap((form) => fillTemplate(form, requirement, target)))]
  return Promise.all(
    addresses.map(async (url) => {
      const missing = options.verify && !(await fileExists(url, options.signal))
      return candidateOf(url, source, { missing })
    }),
  )
}

function page(url: string, options: GatherOptions): Promise<Page | null> {
  const known = options.pages.get(url)
  if (known) return known
  const asked = getPage(url, options.signal)
  options.pages.set(url, asked)
  asked.catch(() => options.pages.delete(url)) // a failure is asked again, not remembered
  return asked
}

async function links(source: string, kind: 'page' | 'index', requirement: Requirement, options: GatherOptions): Promise<Candidate[]> {
  if (kind === 'index') {
    const project = await page(`${source.replace(/\/?$/, '/')}${requirement.name}/`, options)
    if (project) return pageLinks(project, source)
  }
  const flat = await page(source, options)
  if (!flat) throw new BridgeError('SOURCE_UNREACHABLE', `${source} is not there (HTTP 404).`)
  return pageLinks(flat, source)
}

async function one(source: string, requirement: Requirement, target: Target, options: GatherOptions): Promise<Candidate[]> {
  const kind = sourceKind(source)
  if (kind === 'folder') return folder(source)
  if (kind === 'template') return template(source, requirement, target, options)
  return links(source, kind, requirement, options)
}

/** Every wheel of the requirement's package that the sources offer. A source that fails is noted and does not hide the others. */
export async function gather(
  sources: readonly string[],
  requirement: Requirement,
  target: Target,
  options: GatherOptions,
): Promise<Gathered> {
  const errors: BridgeError[] = []
  const lists = await Promise.all(
    sources.map((source) =>
      one(source, requirement, target, options).catch((error: unknown) => {
        if (!(error instanceof BridgeError)) throw error
        errors.push(error)
        return []
      }),
    ),
  )
  const ours = lists.flat().filter(({ name, filename }) => {
    const named = name?.package ?? filename.split('-')[0]?.toLowerCase().replaceAll('_', '-')
    return named === requirement.name
  })
  return { candidates: ours, errors }
}
