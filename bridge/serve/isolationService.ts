import { join } from 'node:path'
import type { LoadedPack } from '../../schemas/pack'
import type { HostPack } from '../../schemas/shimLink'
import { BridgeError, toWire } from '../errors/bridgeError'
import { writeAtomic } from '../files'
import { packFolder, saveIsolated, type Context } from './context'
import type { PackService } from './packService'
import type { WorkerService } from './workerService'

export type ApplyInHost = (
  pack: string,
  on: boolean,
  loaded: LoadedPack | null,
) => Promise<{ pack: HostPack; restart_needed: string | null }>

/** The isolation switch: what it needs first, what it changes, and what is left for a restart. */
export class IsolationService {
  constructor(
    private readonly context: Context,
    private readonly packs: PackService,
    private readonly workers: WorkerService,
    private readonly apply: ApplyInHost,
    private readonly onNodesChanged: (pack: string) => void,
  ) {}

  /** Imports a pack in its worker. */
  load(pack: string): Promise<LoadedPack> {
    return this.workers.load(pack)
  }

  /** Keeps what a worker said of its pack, so that ComfyUI's next start need not wait for a worker. */
  async keep(loaded: LoadedPack): Promise<void> {
    const path = join(this.context.engine.settings.home, 'classes', `${loaded.pack}.json`)
    await writeAtomic(path, JSON.stringify({ ...loaded, web_socket: null }))
  }

  async set(pack: string, on: boolean): Promise<void> {
    const folder = await packFolder(this.context, pack)
    const before = this.context.isolated.has(pack)
    this.packs.setIsolation(pack, { state: 'starting' })
    try {
      if (on) this.#refuseUnready(pack)
      const loaded = on ? await this.load(pack) : null
      if (on) this.context.isolated.add(pack)
      else this.context.isolated.delete(pack)
      await saveIsolated(this.context)
      const applied = this.context.host ? await this.apply(pack, on, loaded) : null
      if (applied) this.context.hostPacks.set(pack, applied.pack)
      this.onNodesChanged(pack)
      if (!on) await this.workers.retire(pack)
      const later = applied?.restart_needed
      this.packs.setIsolation(pack, later ? { state: 'restart_needed', reason: later } : { state: on ? 'on' : 'off' })
    } catch (error) {
      if (on && !before) this.context.isolated.delete(pack)
      await saveIsolated(this.context)
      this.packs.setIsolation(pack, { state: 'failed', reason: toWire(error).message })
      throw error
    } finally {
      await this.packs.refresh(folder)
    }
  }

  /** After an install: the pack's next call runs in the new environment. */
  async renew(pack: string): Promise<void> {
    await this.workers.retire(pack)
    if (this.context.isolated.has(pack)) await this.set(pack, true)
  }

  #refuseUnready(pack: string): void {
    const info = this.context.store.packs.get(pack)
    if (info && ['missing', 'conflict'].includes(info.state) && !info.env) {
      throw new BridgeError('UNKNOWN_ENV', `${pack} has no environment yet.`, { hint: 'Install it first.' })
    }
  }
}
