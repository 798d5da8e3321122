import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { type Isolation, LoadedPack, type PackNode, type PackNodes } from '../../schemas/pack'
import type { HostPack } from '../../schemas/shimLink'
import { BridgeError, toWire } from '../errors/bridgeError'
import { readCached, writeAtomic } from '../files'
import { type Choice, type Chosen, type Context, packFolder, saveChoice, savedChoices, takenBack, usesWorker, withChoice } from './context'
import { packFile } from './packFile'
import type { PackService } from './packService'
import type { WorkerService } from './workerService'

/** What ComfyUI is asked to do about a pack. */
export interface HostSwitch {
  apply: (pack: string, on: boolean, classes: Record<string, boolean>, loaded: LoadedPack | null) => Promise<{ pack: HostPack; restart_needed: string | null }>
  nodes: (pack: string) => Promise<{ nodes: PackNode[]; imported: boolean }>
}

/** The isolation switch: what it needs first, what it changes, and what is left for a restart. */
export class IsolationService {
  /** The last switch of each pack, settled or under way: the next one waits for it, and finds what it has left. */
  readonly #turns = new Map<string, Promise<void>>()

  constructor(
    private readonly context: Context,
    private readonly packs: PackService,
    private readonly workers: WorkerService,
    private readonly host: HostSwitch,
    private readonly onNodesChanged: (pack: string) => void,
  ) {}

  /** Imports a pack in its worker. */
  load(pack: string): Promise<LoadedPack> {
    return this.workers.load(pack)
  }

  /** The same for ComfyUI, which has none of the pack's node classes meanwhile: the pack is shown as starting. */
  async loadForHost(pack: string): Promise<LoadedPack> {
    const show = (isolation: Isolation): void => {
      if (this.context.isolated.has(pack)) this.packs.setIsolation(pack, isolation)
    }
    show({ state: 'starting' })
    try {
      const loaded = await this.load(pack)
      show({ state: 'on' })
      return loaded
    } catch (error) {
      show({ state: 'failed', reason: toWire(error).message })
      throw error
    }
  }

  /** Loads the isolated packs that could not be loaded, for what has kept them from it has gone. What of it cannot be done is that pack's state. */
  async loadFailed(): Promise<void> {
    const { isolated, store } = this.context
    const failed = [...isolated].filter((pack) => store.packs.get(pack)?.isolation.state === 'failed')
    await Promise.all(failed.map((pack) => this.#inTurn(pack, () => this.loadForHost(pack).then(() => undefined)).catch(() => undefined)))
  }

  /** Keeps what a worker said of its pack, so that ComfyUI's next start need not wait for a worker. */
  async keep(loaded: LoadedPack): Promise<void> {
    await writeAtomic(this.#classesPath(loaded.pack), JSON.stringify({ ...loaded, web_socket: null }))
  }

  #classesPath(pack: string): string {
    return join(this.context.engine.settings.home, 'classes', `${packFile(pack)}.json`)
  }

  /** Switches a pack. */
  async set(pack: string, on: boolean): Promise<void> {
    await this.#choose(pack, { on })
  }

  /** Sets a node class apart from its pack; `on` null: as its pack. */
  async setClass(pack: string, name: string, on: boolean | null): Promise<void> {
    await this.#choose(pack, { name, on })
  }

  /** A choice of the user, on top of what is chosen on disk: another process may have changed that. Throws FILE_UNREADABLE. */
  #choose(pack: string, choice: Choice): Promise<void> {
    return this.#inTurn(pack, async () => {
      const saved = await savedChoices(this.context.engine.settings.home).catch((error: unknown) => {
        this.packs.setIsolation(pack, { state: 'failed', reason: toWire(error).message })
        throw error
      })
      const chosen = { on: saved.isolated.has(pack), classes: saved.classes.get(pack) }
      this.#put(pack, chosen)
      await this.#switch(pack, withChoice(chosen, choice), choice)
    })
  }

  /** Does here what another process of this home has chosen; what of it cannot be done is that pack's state. Throws FILE_UNREADABLE. */
  async follow(): Promise<void> {
    const saved = await savedChoices(this.context.engine.settings.home)
    const { isolated, classes } = this.context
    const packs = new Set([...isolated, ...classes.keys(), ...saved.isolated, ...saved.classes.keys()])
    await Promise.all([...packs].filter((pack) => !this.#isAsIn(saved, pack)).map((pack) => this.#inTurn(pack, () => this.#followOne(pack)).catch(() => undefined)))
  }

  /** Runs a pack on its environment as it is now, if another process has changed that. */
  followEnv(pack: string): Promise<void> {
    return this.#inTurn(pack, async () => {
      if (!(await this.workers.isOutdated(pack))) return
      await this.workers.retire(pack)
      await this.#switch(pack, this.#chosen(pack))
    })
  }

  /** An isolated pack is there again, or for the first time: ComfyUI gets its nodes, where it has none of them. What of that cannot be done is the pack's state. */
  comeBack(pack: string): Promise<void> {
    return this.#inTurn(pack, async () => {
      const { host, hostPacks } = this.context
      if (!usesWorker(this.context, pack) || host === null || hostPacks.has(pack)) return
      await this.packs.refresh(await packFolder(this.context, pack))
      await this.#switch(pack, this.#chosen(pack)).catch(() => undefined)
    })
  }

  #isAsIn({ isolated, classes }: Pick<Context, 'isolated' | 'classes'>, pack: string): boolean {
    return this.context.isolated.has(pack) === isolated.has(pack) && isDeepStrictEqual(this.context.classes.get(pack), classes.get(pack))
  }

  async #followOne(pack: string): Promise<void> {
    const saved = await savedChoices(this.context.engine.settings.home) // as it is when its turn has come
    if (this.#isAsIn(saved, pack)) return
    const chosen = { on: saved.isolated.has(pack), classes: saved.classes.get(pack) }
    const folder = await packFolder(this.context, pack).catch(() => null)
    if (!folder) return this.#put(pack, chosen) // this ComfyUI does not have it
    await this.packs.refresh(folder)
    await this.#switch(pack, chosen)
  }

  #inTurn(pack: string, work: () => Promise<void>): Promise<void> {
    const mine = (this.#turns.get(pack) ?? Promise.resolve()).then(work)
    this.#turns.set(pack, mine.catch(() => undefined))
    return mine
  }

  /** What the switch would be about: the pack's node classes, what of them cannot leave ComfyUI, and what else to say before. */
  async nodes(pack: string): Promise<PackNodes> {
    const { dir } = await packFolder(this.context, pack)
    const there = this.context.host ? await this.host.nodes(pack) : { nodes: [], imported: false }
    const { nodes, imported } = there.nodes.length > 0 ? there : { ...there, nodes: await this.#keptNodes(pack) }
    const isolated = this.context.isolated.has(pack)
    const notes = imported && !isolated ? ['What its import has changed in ComfyUI stays until ComfyUI is restarted.'] : []
    if (existsSync(join(dir, 'prestartup_script.py'))) notes.push('Its prestartup_script.py runs inside ComfyUI at each start, isolated or not.')
    return { nodes, known: nodes.length > 0, inside: imported, notes }
  }

  async #keptNodes(pack: string): Promise<PackNode[]> {
    const kept = await readCached(this.#classesPath(pack), LoadedPack)
    return (kept?.classes ?? []).map(({ name, display_name, live_inputs }) => ({ name, display_name: display_name ?? name, live_inputs }))
  }

  /** `choice`: what of that the file does not say yet. */
  async #switch(pack: string, chosen: Chosen, choice: Choice | null = null): Promise<void> {
    const folder = await packFolder(this.context, pack)
    const { isolated, classes } = this.context
    const before = this.#chosen(pack)
    this.packs.setIsolation(pack, { state: 'starting' })
    this.#put(pack, chosen)
    const needsWorker = usesWorker(this.context, pack)
    let saved = false
    try {
      if (needsWorker) this.#refuseUnready(pack)
      const loaded = needsWorker ? await this.load(pack) : null
      if (choice) await saveChoice(this.context, pack, choice)
      saved = choice !== null
      const applied = this.context.host ? await this.host.apply(pack, isolated.has(pack), classes.get(pack) ?? {}, loaded) : null
      if (applied) this.context.hostPacks.set(pack, applied.pack)
      this.onNodesChanged(pack)
      if (!needsWorker) await this.workers.retire(pack)
      const later = applied?.restart_needed
      this.packs.setIsolation(pack, later ? { state: 'restart_needed', reason: later } : { state: isolated.has(pack) ? 'on' : 'off' })
    } catch (error) {
      const isTakenBack = needsWorker || (choice !== null && !saved)
      if (isTakenBack) this.#put(pack, before)
      const unsaved = isTakenBack && saved && choice ? await saveChoice(this.context, pack, takenBack(before, choice)).then(() => null, toWire) : null
      const later = unsaved ? ` After ComfyUI’s next start it is as chosen all the same: ${unsaved.message}` : ''
      this.packs.setIsolation(pack, { state: 'failed', reason: `${toWire(error).message}${later}` })
      throw error
    } finally {
      await this.packs.refresh(folder)
    }
  }

  /** What is chosen here. */
  #chosen(pack: string): Chosen {
    return { on: this.context.isolated.has(pack), classes: this.context.classes.get(pack) }
  }

  #put(pack: string, chosen: Chosen): void {
    const { isolated, classes } = this.context
    if (chosen.on) isolated.add(pack)
    else isolated.delete(pack)
    if (chosen.classes) classes.set(pack, chosen.classes)
    else classes.delete(pack)
  }

  /** The pack's environment is another: its next call runs in that. `change` is what makes it another, if that is still to be done; the pack cannot be switched meanwhile. */
  renew(pack: string, change?: () => Promise<void>): Promise<void> {
    return this.#inTurn(pack, async () => {
      if (usesWorker(this.context, pack)) this.packs.setIsolation(pack, { state: 'starting' })
      try {
        await change?.()
        await this.workers.retire(pack)
      } catch (error) {
        this.packs.setIsolation(pack, { state: this.context.isolated.has(pack) ? 'on' : 'off' })
        throw error
      }
      if (usesWorker(this.context, pack)) await this.#switch(pack, this.#chosen(pack))
    })
  }

  #refuseUnready(pack: string): void {
    const info = this.context.store.packs.get(pack)
    if (info && ['missing', 'conflict'].includes(info.state) && !info.env) {
      throw new BridgeError('UNKNOWN_ENV', `${pack} has no environment yet.`, { hint: 'Install it first.' })
    }
  }
}
