import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse, stringify } from 'smol-toml'
import { z } from 'zod'
import type { InstallPlan } from '../../schemas/env'
import type { Resolution } from '../../schemas/wheel'
import { BridgeError } from '../errors/bridgeError'
import type { Installed } from '../packs/installed'
import { markerHolds } from '../packs/markers'
import type { PackNeeds } from '../packs/config'
import { normalizeName, parseRequirement, type Requirement } from '../resolve/requirement'
import type { Target } from '../resolve/target'
import { meets } from '../resolve/versions'
import type { Settings } from '../settings'
import { wheelBytes } from './download'
import type { OnLine, Uv } from './uv'
import { compileArgs } from './uvArgs'

/** Never installed into an overlay: they are ComfyUI's, and a second copy breaks what shares tensors with it. */
export const TORCH_FAMILY = ['torch', 'torchvision', 'torchaudio', 'triton', 'triton-windows', 'xformers']

const LockedWheel = z.looseObject({ url: z.string().optional(), path: z.string().optional(), size: z.number().optional() })
const LockedPackage = z.looseObject({ name: z.string(), version: z.string(), wheels: z.array(LockedWheel).optional() })
const Lock = z.looseObject({ packages: z.array(LockedPackage).optional() })
type LockedPackage = z.infer<typeof LockedPackage>

/** What an install will do, exactly: the plan to show, the lock for uv, the wheels for us. */
export interface FullPlan {
  plan: InstallPlan
  /** `pylock.toml` for uv; null: nothing ordinary to install. */
  lock: string | null
  wheels: Resolution[]
  /** Requirements that the pack itself names and that are installed here: their imports are tried. */
  direct: string[]
  /** What the env is made from: equal text, equal env. */
  fingerprint: string
}

export interface PlanInput {
  env: string
  pack: string
  needs: PackNeeds
  wheels: Resolution[]
  host: Installed
  target: Target
  interpreter: string
  settings: Settings
  uv: Uv
  installed: Installed
}

function refuseTorch(requirement: Requirement, host: Installed, pack: string): void {
  const here = host.get(requirement.name)
  if (!TORCH_FAMILY.includes(requirement.name) || here === undefined || meets(here, requirement.specifier)) return
  throw new BridgeError(
    'TORCH_PROTECTED',
    `${pack} wants ${requirement.text}, ComfyUI has ${requirement.name} ${here}, and an overlay shares ComfyUI's.`,
    { hint: 'It needs an environment with a torch of its own.' },
  )
}

/** The requirements that hold on this machine, without the torch family and without addresses. */
function ordinary({ needs, host, pack, target }: PlanInput): Requirement[] {
  const parsed = needs.python.map(parseRequirement).filter(({ marker }) => markerHolds(marker, target.fingerprint))
  for (const requirement of parsed) {
    if (requirement.url) {
      throw new BridgeError('BAD_REQUIREMENT', `${pack}: \`${requirement.text}\` names an address, which a node pack may not.`)
    }
    refuseTorch(requirement, host, pack)
  }
  return parsed.filter(({ name }) => !TORCH_FAMILY.includes(name))
}

const lines = (items: string[]): string => `${items.join('\n')}\n`

/**
 * Lets uv choose versions. First with every package of ComfyUI held at its version, so that an overlay holds as little as
 * possible; if that has no solution, only the torch family is held.
 */
async function compile(input: PlanInput, requirements: Requirement[], onLine: OnLine, signal?: AbortSignal): Promise<string> {
  const { settings, uv, interpreter, host } = input
  await mkdir(settings.home, { recursive: true })
  const folder = await mkdtemp(join(settings.home, 'plan-'))
  const file = (name: string): string => join(folder, name)
  try {
    await writeFile(file('requirements.in'), lines(requirements.map(({ text }) => text)))
    await writeFile(file('excludes.txt'), lines(TORCH_FAMILY))
    const held = [...host].filter(([name, version]) => !TORCH_FAMILY.includes(name) && !version.includes('+'))
    const paths = { requirements: file('requirements.in'), constraints: file('constraints.txt'), excludes: file('excludes.txt') }
    const args = compileArgs({ interpreter, settings, ...paths })
    for (const constraints of [held.map(([name, version]) => `${name}==${version}`), []]) {
      await writeFile(paths.constraints, lines(constraints))
      try {
        return await uv.run(args, { onLine, ...(signal && { signal }) })
      } catch (error) {
        const noSolution = error instanceof BridgeError && error.code === 'UV_FAILED'
        if (!noSolution || constraints.length === 0) throw error
        onLine('The versions of ComfyUI do not serve this pack: choosing without them.')
      }
    }
    throw new Error('unreachable: the second try returns or throws')
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

/** Plans an overlay for a pack. Throws NO_WHEEL with the resolutions, BAD_REQUIREMENT, TORCH_PROTECTED or UV_FAILED. */
export async function planInstall(input: PlanInput, onLine: OnLine, signal?: AbortSignal): Promise<FullPlan> {
  const { wheels, host, installed } = input
  const unmet = wheels.find(({ status }) => status !== 'found')
  if (unmet) throw noWheel(unmet, wheels)
  const requirements = ordinary(input)
  const text = requirements.length > 0 ? await compile(input, requirements, onLine, signal) : ''
  const locked = Lock.parse(parse(text))
  // what ComfyUI has in the same version comes from behind the overlay
  const own = (locked.packages ?? []).filter(({ name, version }) => host.get(normalizeName(name)) !== version)
  const cuda = await Promise.all(
    wheels.map(async ({ package: name, version, url }) => {
      const bytes = url === null ? null : await wheelBytes(url, signal)
      return { name, version: version ?? '', url, bytes }
    }),
  )
  const locks = own.map(({ name, version, wheels: [wheel] = [] }) => ({ name, version, url: wheel?.url ?? null, bytes: wheel?.size ?? null }))
  const added = [...locks, ...cuda]
  const sizes = added.map(({ bytes }) => bytes)
  return {
    plan: {
      env: input.env,
      kind: 'overlay',
      add: added.filter(({ name }) => !installed.has(normalizeName(name))),
      ...changes(installed, added),
      torch_changes: false,
      download_bytes: sizes.every((size) => size !== null) ? sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0) : null,
    },
    lock: own.length > 0 ? stringify({ ...locked, packages: own }) : null,
    wheels,
    direct: [...new Set([...requirements, ...cuda].map(({ name }) => name))].filter((name) => added.some((item) => normalizeName(item.name) === name)),
    fingerprint: JSON.stringify([input.interpreter, added.map(({ name, version, url }) => [name, version, url])]),
  }
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
