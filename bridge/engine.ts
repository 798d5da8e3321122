import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Fingerprint } from '../schemas/host'
import type { Resolution } from '../schemas/wheel'
import { BridgeError } from './errors/bridgeError'
import { EnvStore, envIdOf } from './install/envStore'
import { planInstall, type FullPlan } from './install/plan'
import { findUv, makeUv, type Uv } from './install/uv'
import { readPackNeeds, type PackNeeds } from './packs/config'
import { readInstalled, type Installed } from './packs/installed'
import type { PackFolder } from './packs/scan'
import { probe } from './probe/fingerprint'
import { makeTarget, type Target } from './resolve/target'
import { fillText } from './resolve/template'
import { minor } from './resolve/versions'
import { checkHost } from './sources/allowedHosts'
import type { PageCache } from './sources/gather'
import { resolveAll } from './sources/resolve'
import type { Settings } from './settings'

/** What a pack needs, looked up: its config with variables filled, and the wheels that its sources offer. */
export interface PackLookup {
  needs: PackNeeds
  resolutions: Resolution[]
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
  envs: EnvStore
  lookUp: (pack: PackFolder, signal?: AbortSignal) => Promise<PackLookup>
  plan: (pack: PackFolder, onLine: (text: string) => void, signal?: AbortSignal) => Promise<FullPlan>
}

function fillNeeds(needs: PackNeeds, target: Target): PackNeeds {
  const fill = (text: string): string => fillText(text, target, needs.variables, needs.file ?? '')
  const { pythonVersion, warnings } = needs
  const other = pythonVersion !== null && minor(pythonVersion) !== target.tags.python
  const told = `It asks for Python ${pythonVersion}; an overlay runs on ComfyUI’s ${target.tags.python}.`
  return { ...needs, python: needs.python.map(fill), cuda: needs.cuda.map(fill), warnings: other ? [...warnings, told] : warnings }
}

/** Makes the engine: probes the machine once. */
export async function makeEngine(settings: Settings): Promise<Engine> {
  const { fingerprint, interpreter } = await probe(settings)
  const target = makeTarget(fingerprint)
  const uvPath = findUv(settings, interpreter.executable)
  const uv = makeUv(uvPath, join(settings.cache, 'uv'))
  const envs = new EnvStore(settings.home)
  const pages: PageCache = new Map()

  const lookUp = async (pack: PackFolder, signal?: AbortSignal): Promise<PackLookup> => {
    const needs = fillNeeds(await readPackNeeds(pack.dir), target)
    needs.sources.forEach((source) => checkHost(source.replace(/\{[^}]*\}/g, 'x'), `${pack.id}/${needs.file}`, settings.allowedHosts))
    const sources = [...settings.sources, ...needs.sources]
    const resolutions = await resolveAll(needs.cuda, target, { sources, pages, ...(signal && { signal }) })
    return { needs, resolutions }
  }

  const plan = async (pack: PackFolder, onLine: (text: string) => void, signal?: AbortSignal): Promise<FullPlan> => {
    pages.clear()
    const { needs, resolutions } = await lookUp(pack, signal)
    if (needs.python.length + needs.cuda.length === 0) {
      throw new BridgeError('CONFIG_INVALID', `${pack.id} asks for no packages: there is nothing to install.`, {
        hint: 'It can run isolated as it is.',
      })
    }
    const env = envIdOf(pack.id)
    const record = await envs.read(env)
    const installed: Installed = new Map(record?.packages.map(({ name, version }) => [name, version]))
    const host = await readInstalled(interpreter.sites)
    const input = { env, pack: pack.id, needs, wheels: resolutions, host, target, settings, uv, installed }
    return planInstall({ ...input, interpreter: interpreter.executable }, onLine, signal)
  }

  return {
    settings,
    fingerprint,
    target,
    interpreter: interpreter.executable,
    hostSites: interpreter.sites,
    hostInstalled: () => readInstalled(interpreter.sites),
    uv,
    uvPath,
    envs,
    lookUp,
    plan,
  }
}

/** Bytes below a folder, each file once. */
export async function folderBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const sizes = await Promise.all(files.map((file) => stat(file).then(({ size }) => size, () => 0)))
  return sizes.reduce((sum, size) => sum + size, 0)
}
