import { join } from 'node:path'
import { StateFile } from '../../schemas/connection'
import type { HostPack, HostReport } from '../../schemas/shimLink'
import type { Engine } from '../engine'
import { readJson, writeAtomic } from '../files'
import { findPack, type PackFolder } from '../packs/scan'
import type { Store } from '../state/store'

/** What the services of one bridge share. */
export interface Context {
  engine: Engine
  store: Store
  /** The connected ComfyUI; null before its first report and after it has gone. */
  host: HostReport | null
  /** How packs fared in ComfyUI. */
  hostPacks: Map<string, HostPack>
  /** Packs that the user has set to run in a worker. */
  isolated: Set<string>
}

export function packRoots({ host, engine }: Context): string[] {
  if (host) return host.pack_roots
  return engine.settings.comfyui ? [join(engine.settings.comfyui, 'custom_nodes')] : []
}

export const packFolder = (context: Context, id: string): Promise<PackFolder> => findPack(packRoots(context), id)

const statePath = (home: string): string => join(home, 'state.json')

export async function readIsolated(home: string): Promise<Set<string>> {
  return new Set((await readJson(statePath(home), StateFile))?.isolated)
}

export function saveIsolated({ engine, isolated }: Context): Promise<void> {
  const content: StateFile = { schema: 1, isolated: [...isolated].sort() }
  return writeAtomic(statePath(engine.settings.home), `${JSON.stringify(content, null, 2)}\n`)
}
