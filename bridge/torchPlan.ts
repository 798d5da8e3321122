import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EnvCombination } from '../schemas/env'
import type { TorchPlan } from '../schemas/wheel'
import type { Engine } from './engine'
import { BridgeError } from './errors/bridgeError'
import { isKnownPackage } from './registry/registry'
import { driverRuns } from './resolve/judge'
import { parseLocal } from './resolve/labels'
import { normalizeName } from './resolve/requirement'
import { makeTarget, type Target, withCombination } from './resolve/target'
import { torchBuilds, torchServes } from './resolve/torchBuilds'
import { meets, minor, numbers } from './resolve/versions'
import { scanPacks } from './packs/scan'
import { resolveOne } from './sources/resolve'
import { headers, torchPin } from './sources/wheelMetadata'

type Row = TorchPlan['packages'][number]

/** An installed package that is bound to torch: by a label in its version, by METADATA, or as a build that publishers make for a torch. */
interface Coupled {
  name: string
  version: string
  pin: string | null
  labelled: boolean
}

/** torch's own parts, which move with it. */
const WITH_TORCH = new Set(['torch', 'torchvision', 'torchaudio', 'triton', 'triton-windows'])

async function coupledIn(sites: readonly string[]): Promise<Coupled[]> {
  const found: Coupled[] = []
  for (const site of sites) {
    const infos = (await readdir(site).catch(() => [] as string[])).filter((name) => name.endsWith('.dist-info'))
    for (const info of infos) {
      const metadata = await readFile(join(site, info, 'METADATA'), 'utf8').catch(() => '')
      const name = normalizeName(headers(metadata, 'Name')[0] ?? '')
      const version = headers(metadata, 'Version')[0] ?? ''
      const local = version.includes('+') ? parseLocal(version.slice(version.indexOf('+') + 1)) : null
      const labelled = Boolean(local?.torch ?? local?.cuda)
      const pin = torchPin(metadata)
      if (name && (labelled || pin !== null || isKnownPackage(name))) found.push({ name, version, pin, labelled })
    }
  }
  return found
}

function problemsOf(to: EnvCombination, { fingerprint }: Target): string[] {
  const builds = torchBuilds(fingerprint.platform, to.cuda === null)
  const exists = builds.some(({ torch, cuda, python }) => torch === to.torch && cuda === to.cuda && python === to.python)
  const driver = fingerprint.cuda?.driver
  const tooOld = driver && to.cuda !== null && !driverRuns(numbers(to.cuda)[0] ?? 0, driver, fingerprint.platform.os)
  const unserved = to.cuda === null ? [] : fingerprint.gpus.filter(({ compute }) => torchServes(to, fingerprint.platform.arch, compute) === false)
  return [
    ...(exists ? [] : [`PyTorch has no build of torch ${to.torch} for ${to.cuda ? `CUDA ${to.cuda}` : 'the CPU'} and Python ${to.python} that is known here.`]),
    ...(tooOld ? [`The driver ${driver} is too old for CUDA ${to.cuda}.`] : []),
    ...unserved.map(({ name, compute }) => `That build has no code for ${name} (compute capability ${compute}).`),
  ]
}

async function rowOf(item: Coupled, usedBy: string, requirement: string, there: Target, engine: Engine, torch: string): Promise<Row> {
  const base = { name: item.name, installed: item.version, used_by: usedBy }
  const bound = item.labelled || isKnownPackage(item.name)
  if (!bound) {
    const stays = item.pin === null || meets(torch, item.pin)
    return { ...base, verdict: stays ? 'stays' : 'breaks', detail: `it asks for torch${item.pin ?? ''}`, filename: null }
  }
  const answer = await resolveOne(requirement, there, engine.resolveOptions(engine.settings.sources))
  if (answer.status === 'found') return { ...base, verdict: 'rebuild', detail: 'a wheel for that torch exists', filename: answer.filename }
  if (answer.status === 'error') return { ...base, verdict: 'unknown', detail: answer.error ?? '', filename: null }
  return { ...base, verdict: 'breaks', detail: answer.rejected.length > 0 ? `none of ${answer.rejected.length} wheels is for that torch` : 'no wheel of it is known', filename: null }
}

async function packRows(engine: Engine, there: Target): Promise<Row[]> {
  const root = engine.settings.comfyui
  const packs = root === null ? [] : await scanPacks([join(root, 'custom_nodes')])
  const rows: Row[] = []
  for (const pack of packs) {
    const looked = await engine.lookUp(pack).catch((error: unknown) => {
      if (error instanceof BridgeError) return null // its own state says what is wrong with it
      throw error
    })
    for (const { requirement, package: name, version, status } of looked?.resolutions ?? []) {
      const after = await resolveOne(requirement, there, engine.resolveOptions(engine.settings.sources, looked?.needs.sources))
      const verdict = after.status === 'found' ? 'rebuild' : after.status === 'error' ? 'unknown' : status === 'found' ? 'breaks' : 'unknown'
      const detail = after.status === 'found' ? 'a wheel for that torch exists' : (after.error ?? `${after.rejected.length} wheels, none for that torch`)
      rows.push({ name, installed: version, used_by: pack.id, verdict, detail, filename: after.filename })
    }
  }
  return rows
}

/**
 * What happens if ComfyUI's torch moves: `stays` works as it is, `rebuild` needs the named wheel, `breaks` has none. `cuda`
 * undefined keeps the CUDA that torch has now.
 */
export async function planTorch(engine: Engine, torch: string, cuda?: string | null): Promise<TorchPlan> {
  const { fingerprint, target } = engine
  const now = fingerprint.torch
  const to = { python: minor(fingerprint.python.version), torch, cuda: cuda === undefined ? (now?.cuda ?? null) : cuda }
  const there = makeTarget(withCombination(fingerprint, to))
  const coupled = (await coupledIn(engine.hostSites)).filter(({ name }) => !WITH_TORCH.has(name))
  const rows: Row[] = []
  for (const item of coupled) rows.push(await rowOf(item, 'ComfyUI', item.name, there, engine, torch))
  const order = ['breaks', 'unknown', 'rebuild', 'stays']
  return {
    from: now && { python: minor(fingerprint.python.version), torch: now.version, cuda: now.cuda },
    to,
    problems: problemsOf(to, target),
    packages: [...rows, ...(await packRows(engine, there))].sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict)),
  }
}
