import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EnvCombination, EnvRecord } from '../schemas/env'
import type { Fingerprint } from '../schemas/host'
import type { EnvOffer, Resolution } from '../schemas/wheel'
import { BridgeError } from './errors/bridgeError'
import { defaultIndexOf } from './install/defaultIndex'
import { EnvStore } from './install/envStore'
import { parseLock } from './install/lock'
import { planInstall, planOf, type FullPlan } from './install/plan'
import { findUv, makeUv, type Uv } from './install/uv'
import { readPackNeeds } from './packs/config'
import { readInstalled, type Installed } from './packs/installed'
import { fillNeeds, type PackNeeds } from './packs/needs'
import type { PackFolder } from './packs/scan'
import { probe } from './probe/fingerprint'
import type { InterpreterFacts } from './probe/interpreter'
import { findCombinations } from './resolve/finder'
import { normalizeName } from './resolve/requirement'
import { makeTarget, type Target, withCombination } from './resolve/target'
import { checkHost } from './sources/allowedHosts'
import { gatherForAll } from './sources/everything'
import type { PageCache } from './sources/gather'
import { Http } from './sources/http'
import { resolveAll, type ResolveOptions } from './sources/resolve'
import { sourceOf } from './sources/source'
import type { Settings } from './settings'

/** What a pack needs, looked up: its config with variables filled, and the wheels that its sources offer. */
export interface PackLookup {
  needs: PackNeeds
  resolutions: Resolution[]
}

/** How a pack's env is to be made. */
export interface PlanChoice {
  /** A sealed env of this combination; absent: the kind that the env has, or an overlay. */
  combination?: EnvCombination | null
  /** Into ComfyUI's own environment, with the packages that it has held as they are. */
  inPlace?: boolean
}

/** The engine behind the command line and the bridge: one machine, its sources and its environments. */
export interface Engine {
  settings: Settings
  fingerprint: Fingerprint
  target: Target
  /** The Python of ComfyUI, and what is installed there. */
  interpreter: string
  hostSites: string[]
  hostInstalled: () => Promise<Installed>
  uv: Uv
  uvPath: string | null
  http: Http
  envs: EnvStore
  /** Options to resolve with these sources before the known publishers. */
  resolveOptions: (sources: readonly string[], packSources?: readonly string[], signal?: AbortSignal) => ResolveOptions
  /** Pages are read anew from here on. */
  forgetPages: () => void
  lookUp: (pack: PackFolder, signal?: AbortSignal) => Promise<PackLookup>
  plan: (pack: PackFolder, choice: PlanChoice, onLine: (text: string) => void, signal?: AbortSignal) => Promise<FullPlan>
  /** The plan that builds an env again from its own lock, for who holds the env; its record is put right first if it is damaged. */
  planFromLock: (env: string) => Promise<FullPlan>
  /** The plan that builds the env of an exported lock. */
  planFromFile: (path: string) => Promise<FullPlan>
  /** Combinations of Python, torch and CUDA for which every wheel of a pack exists, best first. */
  find: (pack: PackFolder, signal?: AbortSignal) => Promise<EnvOffer[]>
}

/** What ComfyUI's own modules import, for envs that do not share its packages; its frontend is no such thing. */
async function comfyuiRequirements(root: string | null): Promise<string[]> {
  const text = root === null ? '' : await readFile(join(root, 'requirements.txt'), 'utf8').catch(() => '')
  const lines = text.split(/\r?\n/).map((line) => line.replace(/#.*$/, '').trim())
  return lines.filter((line) => line && !line.startsWith('-') && !/^(comfyui[-_](frontend|workflow|embedded)|torch(vision|audio)?\b)/i.test(line))
}

/** What an env holds by its own lock: its versions have the labels that METADATA may lack. */
async function heldBy(record: EnvRecord | null, envs: EnvStore): Promise<Installed> {
  const lock = record && (await envs.lock(record).catch(() => null))
  return new Map((lock?.packages ?? record?.packages ?? []).map(({ name, version }) => [normalizeName(name), version ?? '']))
}

/** The Python and torch that a pack's config fixes and that are not ComfyUI's: it can only be served sealed. */
function differsFromHost({ pythonVersion, torchVersion, cudaVersion }: PackNeeds, { fingerprint, tags }: Target): string[] {
  const { torch } = fingerprint
  return [
    ...(pythonVersion && !`${pythonVersion}.`.startsWith(`${tags.python}.`) ? [`Python ${pythonVersion}`] : []),
    ...(torchVersion && torch && !`${torch.version}.`.startsWith(`${torchVersion.split('+')[0]}.`) ? [`torch ${torchVersion}`] : []),
    ...(cudaVersion && cudaVersion !== (torch?.cuda ?? 'none') ? [`CUDA ${cudaVersion}`] : []),
  ]
}

/** What every part of the engine works with. */
interface Parts {
  settings: Settings
  fingerprint: Fingerprint
  target: Target
  interpreter: InterpreterFacts
  uv: Uv
  http: Http
  envs: EnvStore
  pages: PageCache
}

/** Looking things up: a pack's needs, and the wheels that sources have for it. */
function makeLookups({ settings, target, uv, http, envs, pages }: Parts) {
  const defaultIndex = defaultIndexOf(uv, settings)
  const resolveOptions: Engine['resolveOptions'] = (sources, packSources = [], signal) => ({
    sources: [...sources.map((address) => sourceOf(address)), ...packSources.map((address) => sourceOf(address, true))],
    registry: settings.registry,
    http,
    verify: true,
    pages,
    allowedHosts: settings.allowedHosts,
    defaultIndex,
    ...(signal && { signal }),
  })

  /** A pack's needs, its addresses checked. */
  const readNeeds = async (pack: PackFolder, where: Target): Promise<PackNeeds> => {
    if (pack.fault) throw pack.fault
    const read = await readPackNeeds(pack.dir, where.fingerprint.platform.os)
    for (const address of [...read.sources, ...read.indexes]) checkHost(address.replace(/\{[^}]*\}/g, 'x'), `${pack.id}/${read.file}`, settings.allowedHosts)
    return fillNeeds(read, where)
  }

  const optionsFor = (needs: PackNeeds, signal?: AbortSignal): ResolveOptions => resolveOptions(settings.sources, [...needs.sources, ...needs.indexes], signal)

  const lookUpFor = async (pack: PackFolder, where: Target, signal?: AbortSignal): Promise<PackLookup> => {
    const needs = await readNeeds(pack, where)
    return { needs, resolutions: await resolveAll(needs.cuda, where, optionsFor(needs, signal)) }
  }

  const lookUp: Engine['lookUp'] = async (pack, signal) => {
    const { needs, resolutions } = await lookUpFor(pack, target, signal)
    const record = await envs.ofPack(pack.id)
    const differs = record?.kind === 'sealed' ? [] : differsFromHost(needs, target)
    const told = `It asks for ${differs.join(' and ')}; ComfyUI’s own are shared unless it gets a sealed environment.`
    return { needs: differs.length > 0 ? { ...needs, warnings: [...needs.warnings, told] } : needs, resolutions }
  }

  const find: Engine['find'] = async (pack, signal) => {
    const needs = await readNeeds(pack, target)
    const { wanted, candidatesFor, unanswered } = await gatherForAll(needs.cuda, target, optionsFor(needs, signal))
    const offers = await findCombinations(wanted, candidatesFor, target, needs)
    const [silent] = unanswered
    if (offers.length === 0 && silent) throw silent // "there is none" is only said where everyone has answered
    return offers
  }

  return { resolveOptions, lookUpFor, lookUp, find }
}

/** Planning: what an install would do, exactly. */
function makePlans({ settings, fingerprint, target, interpreter, uv, http, envs, pages }: Parts, { lookUpFor }: ReturnType<typeof makeLookups>) {
  const plan: Engine['plan'] = async (pack, choice, onLine, signal) => {
    pages.clear()
    const env = envs.idOf(pack.id)
    const record = await envs.read(env)
    const kept = choice.inPlace ? null : (record?.combination ?? null)
    const combination = choice.combination === undefined ? kept : choice.combination
    const where = combination ? makeTarget(withCombination(fingerprint, combination)) : target
    const { needs, resolutions } = await lookUpFor(pack, where, signal)
    if (needs.python.length + needs.cuda.length === 0) {
      throw new BridgeError('CONFIG_INVALID', `${pack.id} asks for no packages: there is nothing to install.`, {
        hint: 'It can run isolated as it is.',
      })
    }
    const installed = await heldBy(record, envs)
    const host: Installed = combination ? new Map() : await readInstalled(interpreter.sites)
    const comfyui = combination ? await comfyuiRequirements(settings.comfyui) : []
    const kind = combination ? ('sealed' as const) : choice.inPlace ? ('host' as const) : ('overlay' as const)
    const input = { env, pack: pack.id, kind, combination, needs, wheels: resolutions, host, target: where, comfyui, settings, uv, http, installed }
    return planInstall({ ...input, interpreter: interpreter.executable }, onLine, signal)
  }

  const planFromLock: Engine['planFromLock'] = async (env) => {
    const record = await envs.recover(env)
    if (!record) throw new BridgeError('UNKNOWN_ENV', `There is no environment \`${env}\`.`)
    return planOf(await envs.lock(record), env, await heldBy(record, envs), [])
  }

  const planFromFile: Engine['planFromFile'] = async (path) => {
    const lock = parseLock(await readFile(path, 'utf8'), path)
    const record = await envs.ofPack(lock.pack)
    return planOf(lock, envs.idOf(lock.pack), await heldBy(record, envs), [])
  }

  return { plan, planFromLock, planFromFile }
}

/** Makes the engine: probes the machine once. */
export async function makeEngine(settings: Settings): Promise<Engine> {
  const { fingerprint, interpreter } = await probe(settings)
  const uvPath = findUv(settings, interpreter.executable)
  const uv = makeUv(uvPath, join(settings.cache, 'uv'), settings)
  const parts: Parts = { settings, fingerprint, target: makeTarget(fingerprint), interpreter, uv, http: new Http(settings), envs: new EnvStore(settings.home), pages: new Map() }
  const lookups = makeLookups(parts)
  const { resolveOptions, lookUp, find } = lookups
  return {
    settings,
    fingerprint,
    target: parts.target,
    interpreter: interpreter.executable,
    hostSites: interpreter.sites,
    hostInstalled: () => readInstalled(interpreter.sites),
    uv,
    uvPath,
    http: parts.http,
    envs: parts.envs,
    forgetPages: () => parts.pages.clear(),
    resolveOptions,
    lookUp,
    find,
    ...makePlans(parts, lookups),
  }
}
