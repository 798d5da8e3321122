import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EnvCombination, EnvKind, InstallPlan } from '../../schemas/env'
import type { Resolution } from '../../schemas/wheel'
import { BridgeError } from '../errors/bridgeError'
import { asDiskError } from '../files'
import { markFolder } from '../mark'
import type { PackNeeds } from '../packs/needs'
import type { Installed } from '../packs/installed'
import { markerHolds } from '../packs/markers'
import { normalizeName, parseRequirement, type Requirement } from '../resolve/requirement'
import type { Target } from '../resolve/target'
import { meets } from '../resolve/versions'
import { parseWheelName } from '../resolve/wheelName'
import type { Settings } from '../settings'
import type { Http } from '../sources/http'
import { wheelBytes } from './download'
import { archivePackage, type EnvLock, fileOf, type LockedPackage, packagesOf } from './lock'
import type { OnLine, Uv } from './uv'
import { compileArgs } from './uvArgs'

/** Never installed into an overlay: they are ComfyUI's, and a second copy breaks what shares tensors with it. */
export const TORCH_FAMILY = ['torch', 'torchvision', 'torchaudio', 'triton', 'triton-windows', 'xformers']

/** What an install will do, exactly: the plan to show, and the lock of what it installs. */
export interface FullPlan {
  plan: InstallPlan
  lock: EnvLock
}

export interface PlanInput {
  env: string
  pack: string
  kind: EnvKind
  /** Of a sealed env; null for the other kinds. */
  combination: EnvCombination | null
  needs: PackNeeds
  wheels: Resolution[]
  host: Installed
  target: Target
  interpreter: string
  /** Requirements of ComfyUI itself, which a sealed env needs as well. */
  comfyui: string[]
  settings: Settings
  uv: Uv
  http: Http
  installed: Installed
}

function refuseTorch(requirement: Requirement, host: Installed, pack: string): void {
  const here = host.get(requirement.name)
  if (!TORCH_FAMILY.includes(requirement.name) || here === undefined || meets(here, requirement.specifier)) return
  throw new BridgeError(
    'TORCH_PROTECTED',
    `${pack} wants ${requirement.text}, ComfyUI has ${requirement.name} ${here}, and an overlay shares ComfyUI's.`,
    { hint: 'It needs an environment with a torch of its own: `comfy-env find --pack <folder>` names those that fit.' },
  )
}

/** The requirements that hold on this machine, without addresses; in an overlay, without the torch family. */
function ordinary({ needs, host, pack, target, kind }: PlanInput): Requirement[] {
  const parsed = needs.python.map(parseRequirement).filter(({ marker }) => markerHolds(marker, target.fingerprint))
  for (const requirement of parsed) {
    if (requirement.url) {
      throw new BridgeError('BAD_REQUIREMENT', `${pack}: \`${requirement.text}\` names an address, which a node pack may not.`)
    }
    if (kind !== 'sealed') refuseTorch(requirement, host, pack)
  }
  return kind === 'sealed' ? parsed : parsed.filter(({ name }) => !TORCH_FAMILY.includes(name))
}

const lines = (items: string[]): string => `${items.join('\n')}\n`

/** Rounds of constraints: the first that has a solution counts. */
function constraintRounds({ host, kind, wheels }: PlanInput): string[][] {
  // our wheels come after uv's, so nothing that uv installs may want another version of them
  const chosen = wheels.flatMap(({ package: name, version }) => (version ? [`${name}==${version}`] : []))
  if (kind === 'sealed') return [chosen, []]
  const held = [...host].filter(([name, version]) => !TORCH_FAMILY.includes(name) && !version.includes('+'))
  const all = held.map(([name, version]) => `${name}==${version}`)
  // what ComfyUI has stays as it is, whatever a pack wants beside it
  return kind === 'host' ? [all.length > 0 ? all : ['torch']] : [all, []]
}

/**
 * Lets uv choose versions. For an overlay first with every package of ComfyUI held at its version, so that it holds as little
 * as possible; if that has no solution, only the torch family is held.
 */
async function compile(input: PlanInput, requirements: string[], onLine: OnLine, signal?: AbortSignal): Promise<string> {
  const { settings, uv, interpreter, kind, combination, needs, wheels } = input
  await mkdir(settings.home, { recursive: true }).catch((error: unknown) => Promise.reject(asDiskError(error)))
  const folder = await mkdtemp(join(settings.home, 'plan-')).catch((error: unknown) => Promise.reject(asDiskError(error)))
  const file = (name: string): string => join(folder, name)
  const ours = wheels.map((wheel) => wheel.package)
  try {
    await markFolder(folder, 'plan')
    await writeFile(file('requirements.in'), lines(requirements))
    await writeFile(file('excludes.txt'), lines(kind === 'sealed' ? ours : [...TORCH_FAMILY, ...ours]))
    const paths = { requirements: file('requirements.in'), constraints: file('constraints.txt'), excludes: file('excludes.txt') }
    const args = compileArgs({ interpreter, settings, combination, indexes: needs.indexes, ...paths })
    for (const constraints of constraintRounds(input)) {
      await writeFile(paths.constraints, lines(constraints))
      try {
        return await uv.run(args, { onLine, ...(signal && { signal }) })
      } catch (error) {
        const noSolution = error instanceof BridgeError && error.code === 'UV_FAILED'
        if (noSolution && kind === 'host') throw new BridgeError('UV_FAILED', `${input.pack} cannot be installed beside what ComfyUI has: ${error.message}`, { hint: 'Install it into an environment of its own (without --in-place).', cause: error })
        if (!noSolution || constraints.length === 0) throw error
        onLine('The versions of ComfyUI do not serve this pack: choosing without them.')
      }
    }
    throw new Error('unreachable: the second try returns or throws')
  } catch (error) {
    throw asDiskError(error)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function changes(installed: Installed, wanted: { name: string; version: string }[]): Pick<InstallPlan, 'remove' | 'change'> {
  const next = new Map(wanted.map(({ name, version }) => [normalizeName(name), version]))
  const remove = [...installed].filter(([name]) => !next.has(name)).map(([name, version]) => ({ name, version }))
  const change = [...installed].flatMap(([name, from]) => {
    const to = next.get(name)
    return to !== undefined && to !== from ? [{ name, from, to }] : []
  })
  return { remove, change }
}

const hostOf = (url: string): string => URL.parse(url)?.host || 'this machine'

/** The plan that a lock stands for, against what the env holds now. */
export function planOf(lock: EnvLock, env: string, installed: Installed, warnings: string[]): FullPlan {
  const files = lock.packages.map((item) => ({ name: item.name, version: item.version ?? '', ...fileOf(item) }))
  const sizes = files.map(({ bytes }) => bytes)
  const plan: InstallPlan = {
    env,
    kind: lock.kind,
    add: files.filter(({ name }) => !installed.has(normalizeName(name))),
    ...changes(installed, files),
    torch_changes: false,
    download_bytes: sizes.every((size) => size !== null) ? sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0) : null,
    combination: lock.combination ?? null,
    hosts: [...new Set(files.flatMap(({ url }) => (url ? [hostOf(url)] : [])))].sort(),
    warnings,
  }
  return { plan, lock }
}

/** Requirements for uv, as text: the pack's own, and for a sealed env torch and what ComfyUI's modules import. */
function requirementTexts(requirements: Requirement[], { kind, combination, comfyui }: PlanInput): string[] {
  const own = requirements.map(({ text }) => text)
  if (kind !== 'sealed' || !combination) return own
  const named = new Set(requirements.map(({ name }) => name))
  const torch = named.has('torch') ? [] : [`torch==${combination.torch}`]
  return [...own, ...torch, ...comfyui.filter((text) => !named.has(parseRequirement(text).name))]
}

async function cudaPackages({ wheels, http }: PlanInput, signal?: AbortSignal): Promise<LockedPackage[]> {
  return Promise.all(
    wheels.map(async ({ package: name, version, url, filename, sha256 }) => {
      const bytes = url === null ? null : await wheelBytes(url, http, signal)
      const local = filename ? parseWheelName(filename)?.local : null
      return archivePackage(name, local ? `${version}+${local}` : (version ?? ''), { url: url ?? '', filename: filename ?? '', sha256 }, bytes)
    }),
  )
}

/** Plans an env for a pack. Throws NO_WHEEL with the resolutions, BAD_REQUIREMENT, TORCH_PROTECTED or UV_FAILED. */
export async function planInstall(input: PlanInput, onLine: OnLine, signal?: AbortSignal): Promise<FullPlan> {
  const { wheels, host, installed, kind, combination, needs, target, pack } = input
  const unmet = wheels.find(({ status }) => status !== 'found')
  if (unmet) throw noWheel(unmet, wheels)
  const requirements = ordinary(input)
  const texts = requirementTexts(requirements, input)
  const compiled = texts.length > 0 ? packagesOf(await compile(input, texts, onLine, signal)) : []
  // what ComfyUI has in the same version comes from behind an overlay
  const own = kind === 'sealed' ? compiled : compiled.filter(({ name, version }) => host.get(normalizeName(name)) !== version)
  const cuda = await cudaPackages(input, signal)
  const names = new Set([...own, ...cuda].map(({ name }) => normalizeName(name)))
  const lock: EnvLock = {
    schema: 1,
    pack,
    kind,
    ...(combination && { combination }),
    python: target.fingerprint.python.version,
    requirements: [...needs.python, ...needs.cuda],
    probe: [...new Set([...requirements.map(({ name }) => name), ...cuda.map(({ name }) => normalizeName(name))])].filter((name) => names.has(name)),
    direct: cuda.map(({ name }) => normalizeName(name)),
    packages: [...own, ...cuda],
  }
  const warnings = wheels.flatMap(({ requirement, warnings: told }) => told.map((text) => `${requirement}: ${text}`))
  const held = kind === 'host' ? new Map([...host].filter(([name]) => names.has(name))) : installed
  return planOf(lock, input.env, held, [...needs.warnings, ...warnings])
}

export function noWheel(resolution: Resolution, all: Resolution[]): BridgeError {
  if (resolution.status === 'error') {
    return new BridgeError('SOURCE_UNREACHABLE', resolution.error ?? `${resolution.requirement} could not be resolved.`, {
      details: { results: all },
    })
  }
  const [nearest] = resolution.nearest
  const hint = nearest
    ? `The nearest wheel needs ${Object.entries(nearest.change).map(([fact, value]) => `${fact} ${value}`).join(' and ')}: ${nearest.filename}`
    : 'None of its sources has a wheel of this package.'
  return new BridgeError('NO_WHEEL', `No wheel of ${resolution.requirement} fits this machine.`, { hint, details: { results: all } })
}
