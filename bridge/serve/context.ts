import { join } from 'node:path'
import { StateFile } from '../../schemas/connection'
import type { HostPack, HostReport } from '../../schemas/shimLink'
import type { Engine } from '../engine'
import { readOrKeep, writeAtomic } from '../files'
import { findPack, type PackFolder } from '../packs/scan'
import type { Store } from '../state/store'
import { Journal } from './journal'

/** What the services of one bridge share. */
export interface Context {
  engine: Engine
  store: Store
  journal: Journal
  /** Folder for shared memory with names; null: no sandbox needs one. */
  segments: string | null
  /** What is wrong here beyond what `hostInfo` finds. */
  problems: string[]
  /** The connected ComfyUI; null before its first report and after it has gone. */
  host: HostReport | null
  /** How packs fared in ComfyUI. */
  hostPacks: Map<string, HostPack>
  /** Packs that the user has set to run in a worker. */
  isolated: Set<string>
  /** Node classes that the user has set apart from their pack: pack → class → whether it runs in a worker. */
  classes: Map<string, Record<string, boolean>>
}

export function packRoots({ host, engine }: Context): string[] {
  if (host) return host.pack_roots
  return engine.settings.comfyui ? [join(engine.settings.comfyui, 'custom_nodes')] : []
}

export const packFolder = (context: Context, id: string): Promise<PackFolder> => findPack(packRoots(context), id)

const statePath = (home: string): string => join(home, 'state.json')

/** A context with what the user has chosen, from `state.json`. */
export async function newContext(engine: Engine, store: Store, segments: string | null = null): Promise<Context> {
  const path = statePath(engine.settings.home)
  const { value, kept } = await readOrKeep(path, StateFile)
  const strange = await engine.envs.unreadable()
  const problems = [
    ...(kept ? [`What was isolated could not be read from state.json: another version wrote it. It is kept as ${kept}.`] : []),
    ...(strange.length > 0 ? [`Another version wrote the environments of ${strange.join(', ')}: they are left as they are, and not used. Update, or install the packs anew.`] : []),
  ]
  return { engine, store, segments, problems, journal: new Journal(engine.settings.home), host: null, hostPacks: new Map(), isolated: new Set(value?.isolated), classes: new Map(Object.entries(value?.classes ?? {})) }
}

export function saveChoices({ engine, isolated, classes }: Context): Promise<void> {
  const content: StateFile = { schema: 1, isolated: [...isolated].sort(), classes: Object.fromEntries(classes) }
  return writeAtomic(statePath(engine.settings.home), `${JSON.stringify(content, null, 2)}\n`)
}

/** Whether a worker runs anything of a pack: itself, or one of its node classes. */
export const usesWorker = ({ isolated, classes }: Context, pack: string): boolean => isolated.has(pack) || Object.values(classes.get(pack) ?? {}).includes(true)
