import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { EnvInfo, EnvRecord } from '../../schemas/env'
import type { Isolation, PackInfo, PackState, RequirementStatus } from '../../schemas/pack'
import { BridgeError, toWire } from '../errors/bridgeError'
import { whyUnrunnable } from '../install/hostOf'
import { folderSizes } from '../install/sizes'
import { installedVersion } from '../packs/installed'
import { needsVersion } from '../packs/needsVersion'
import type { PackFolder } from '../packs/scan'
import { scanPacks } from '../packs/scan'
import { packState, requirementStatuses } from '../packs/status'
import { background, showProblem } from './background'
import { packFolder, packRoots, type Context } from './context'
import { GonePacks, whyGone } from './gonePacks'
import { freeBytes } from './hostInfo'

interface Assessment {
  state: PackState
  reason: string
  requirements: RequirementStatus[]
  warnings: string[]
  config: string | null
}

/** A pack as it was found: of which version what it asks for is, or why nothing can be done with it. */
interface Seen {
  version?: string
  fault?: string
}

const seenOf = async ({ dir, fault }: PackFolder): Promise<Seen> => (fault ? { fault: fault.message } : { version: await needsVersion(dir) })

/** Keeps the store's packs and environments in step with the disk. */
export class PackService {
  readonly #isolation = new Map<string, Isolation>()
  readonly #failures = new Map<string, string>()
  /** Environments that a check has found damaged, and how. */
  readonly #damaged = new Map<string, string>()
  /** The folders that packs were last looked for in, and the packs as they were found there. */
  #roots: readonly string[] | null = null
  readonly #seen = new Map<string, Seen>()
  /** ComfyUI's own packages as they were when the packs were looked at, and at the last look at these. */
  #host = { looked: '', last: '' }
  /** The last look at each pack, ended or under way. */
  readonly #looks = new Map<string, Promise<void>>()
  readonly #goneOnes: GonePacks

  /** `onCame` hears of a pack that can be used now and could not be before. */
  constructor(
    private readonly context: Context,
    private readonly onCame: (pack: string) => void = () => undefined,
  ) {
    this.#goneOnes = new GonePacks(context)
  }

  setIsolation(pack: string, isolation: Isolation): void {
    this.#isolation.set(pack, isolation)
    const known = this.context.store.packs.get(pack)
    if (known) this.context.store.apply({ kind: 'pack', pack: { ...known, isolation } })
  }

  /** A job's failure stays a pack's state until the next try. */
  setFailure(pack: string, message: string | null): void {
    if (message === null) this.#failures.delete(pack)
    else this.#failures.set(pack, message)
  }

  /** A check found an environment damaged. */
  async setDamaged(found: Map<string, string>): Promise<void> {
    this.#damaged.clear()
    for (const [env, reason] of found) this.#damaged.set(env, reason)
    await this.refreshEnvs()
  }

  /** An environment was built anew. */
  setSound(env: string): void {
    this.#damaged.delete(env)
  }

  needRestart(reason: string): void {
    const { store } = this.context
    store.apply({ kind: 'host', host: { ...store.host, restart_needed: reason } })
  }

  setInstalling(pack: string): void {
    const known = this.context.store.packs.get(pack)
    if (known) this.context.store.apply({ kind: 'pack', pack: { ...known, state: 'installing', reason: 'Its environment is being built.' } })
  }

  /** Looks at every pack and environment again. */
  async rescan(): Promise<void> {
    const { store, engine } = this.context
    engine.forgetPages()
    this.#goneOnes.forget()
    await this.#seeHost(true)
    const roots = packRoots(this.context)
    const { found, faults } = await this.#scan(roots)
    faults.forEach(({ message }) => showProblem(this.context, `Node packs are not seen: ${message}`))
    await this.#see(found, roots)
    found.forEach((pack) => this.#showNew(pack))
    await this.refreshEnvs().catch((error: unknown) => showProblem(this.context, `Environments are not seen: ${toWire(error).message}`))
    await Promise.all(found.map((pack) => this.refresh(pack)))
    store.apply({ kind: 'host', host: { ...store.host, checked: Date.now(), free_bytes: await freeBytes(engine.settings.home) } })
  }

  /** The packs that are there, ours left out. Those that are gone are shown no more. */
  async #scan(roots: readonly string[]): Promise<{ found: PackFolder[]; faults: BridgeError[] }> {
    const ourselves = await realpath(join(this.context.engine.settings.pythonShim, '..')).catch(() => null) // it may be updated or removed like any other
    const faults: BridgeError[] = []
    const all = await scanPacks(roots, (fault) => faults.push(fault))
    const places = await Promise.all(all.map(({ dir }) => realpath(dir).catch(() => dir)))
    const found = all.filter((_, index) => places[index] !== ourselves)
    if (faults.length === 0) await this.#goneOnes.look(found)
    const { gone } = this.#goneOnes
    const ids = new Set([...found.map(({ id }) => id), ...gone.keys()])
    // those of a folder that cannot be read now stay as they are known
    if (faults.length === 0) for (const id of this.context.store.packs.keys()) if (!ids.has(id)) {
      this.#forget(id)
      this.context.store.apply({ kind: 'pack_gone', id })
    }
    for (const [id, dir] of gone) {
      this.#forget(id)
      this.context.store.apply({ kind: 'pack', pack: this.#gone(id, dir) })
    }
    return { found, faults }
  }

  #forget(id: string): void {
    this.#seen.delete(id)
    this.#looks.delete(id)
    this.#failures.delete(id)
  }

  #showNew(pack: PackFolder): void {
    if ((this.context.store.packs.get(pack.id)?.state ?? 'gone') === 'gone') this.context.store.apply({ kind: 'pack', pack: this.#unchecked(pack) })
  }

  /** Keeps how packs are found. Returns those that are new or ask for something else now; of these, what can be used and could not be before is told. */
  async #see(found: readonly PackFolder[], roots: readonly string[]): Promise<PackFolder[]> {
    const now = await Promise.all(found.map(seenOf))
    const areOthers = !isDeepStrictEqual(roots, this.#roots) // ComfyUI finds what is in these by itself
    this.#roots = roots
    return found.filter((pack, index) => {
      const [before, after = {}] = [this.#seen.get(pack.id), now[index]]
      this.#seen.set(pack.id, after)
      if (!areOthers && !pack.fault && before?.version === undefined) this.onCame(pack.id)
      return !isDeepStrictEqual(before, after)
    })
  }

  /** Whether ComfyUI's own packages are others than the packs were held against: ComfyUI-Manager installs there. While that goes on nothing is looked at. */
  async #seeHost(isNow: boolean): Promise<boolean> {
    const now = await installedVersion(this.context.engine.hostSites)
    const isSettled = isNow || now === this.#host.last
    const isOther = isSettled && now !== this.#host.looked
    this.#host = { looked: isSettled ? now : this.#host.looked, last: now }
    return isOther
  }

  /**
   * Sees what others have done to the packs' folders: ComfyUI-Manager, git, a user. Each that is new, or asks for something else now, is looked at again, and
   * all where ComfyUI's own packages are others; nobody waits for that.
   */
  async follow(): Promise<void> {
    const roots = packRoots(this.context)
    if (!isDeepStrictEqual(roots, this.#roots)) return // `rescan` looks at other folders first
    const { found } = await this.#scan(roots)
    const inNeed = await this.#see(found, roots)
    const changed = (await this.#seeHost(false)) ? found : inNeed
    if (changed.length > 0) this.context.engine.forgetPages()
    inNeed.forEach(({ id }) => this.#failures.delete(id)) // they were of other files
    for (const pack of changed) {
      this.#showNew(pack)
      background(this.context, `${pack.id} is not looked at again`, this.refresh(pack))
    }
  }

  #gone(id: string, dir: string | null): PackInfo {
    return { ...this.#unchecked({ id, dir: dir ?? '' }), state: 'gone', reason: whyGone(dir), class_isolation: this.context.classes.get(id) ?? {}, env: this.#envOf(id)?.id ?? null }
  }

  async refreshEnvs(): Promise<void> {
    const { store, engine } = this.context
    const damaged = (await engine.envs.damaged().catch(() => null))?.flatMap(({ record, reason }) => (record ? [{ record, reason }] : []))
    if (!damaged) return // the folder cannot be read now: what is known stays
    const records = [...(await engine.envs.list()).map((record) => ({ record, reason: null })), ...damaged]
    const ids = new Set(records.map(({ record }) => record.id))
    for (const id of store.envs.keys()) if (!ids.has(id)) store.apply({ kind: 'env_gone', id })
    for (const { record, reason } of records) store.apply({ kind: 'env', env: await this.#envInfo(record, reason) })
  }

  async #envInfo(record: EnvRecord, fault: string | null): Promise<EnvInfo> {
    const { id, kind, pack, generation, packages, created, combination, previous } = record
    const { envs } = this.context.engine
    const [{ bytes }, { unique }] = await Promise.all([folderSizes(envs.generation(id, generation)), folderSizes(envs.folder(id))])
    const unrunnable = (): Promise<string | null> => whyUnrunnable(record, envs.pythonOf(record), this.context.engine.hostSites).catch((error: unknown) => toWire(error).message)
    const reason = fault ?? (bytes > 0 ? (this.#damaged.get(id) ?? (await unrunnable())) : 'Its folder is gone.')
    const state = reason === null ? 'ready' : 'broken'
    const { fingerprint } = this.context.engine
    const seen = combination ? { python: combination.python, torch: packages.find(({ name }) => name === 'torch')?.version ?? null } : { python: fingerprint.python.version, torch: fingerprint.torch?.version ?? null }
    return { id, kind, pack, state, reason, generation, packages, bytes, unique_bytes: unique, combination, can_undo: previous !== null, ...seen, created }
  }

  /** Looks at one pack again. Of several looks at once the last one counts, and all end with it; none shows a pack that has gone meanwhile. */
  refresh(pack: PackFolder): Promise<void> {
    const look: Promise<void> = this.#assess(pack).then((assessed) => {
      const last = this.#looks.get(pack.id)
      return last === look ? this.#show(pack, assessed) : last
    })
    this.#looks.set(pack.id, look)
    return look
  }

  #show(pack: PackFolder, assessed: Assessment): void {
    const host = this.context.hostPacks.get(pack.id)
    const running = [...this.context.store.jobs.values()].some((job) => job.pack === pack.id && job.state.status === 'running')
    const info: PackInfo = {
      ...this.#unchecked(pack),
      ...assessed,
      ...(running && { state: 'installing', reason: 'Its environment is being built.' }),
      env: this.#envOf(pack.id)?.id ?? null,
      loaded: host?.loaded ?? 'no',
      import_error: host?.error ?? null,
      classes: host?.classes ?? null,
      live_classes: host?.live_classes ?? [],
      proxied: host?.proxied ?? false,
      class_isolation: this.context.classes.get(pack.id) ?? {},
    }
    this.context.store.apply({ kind: 'pack', pack: info })
  }

  /** Looks again at a pack whose environment was found to be broken. */
  async recheck(pack: string): Promise<void> {
    await this.refreshEnvs()
    await this.refresh(await packFolder(this.context, pack))
  }

  #envOf(pack: string): EnvInfo | null {
    const { engine, store } = this.context
    return store.envs.get(engine.envs.idOf(pack)) ?? null
  }

  async #assess(pack: PackFolder): Promise<Assessment> {
    const { engine } = this.context
    try {
      const { needs, resolutions } = await engine.lookUp(pack)
      const env = this.#envOf(pack.id)
      const own = env?.state === 'ready' ? new Map(env.packages.map(({ name, version }) => [name, version])) : null
      const host = await engine.hostInstalled()
      const requirements = requirementStatuses({ needs, resolutions, host, own, fingerprint: engine.fingerprint })
      const base = { requirements, warnings: needs.warnings, config: needs.file }
      const failure = this.#failures.get(pack.id)
      const judged = packState(requirements, own !== null)
      if (failure && judged.state !== 'ready') return { ...base, state: 'failed', reason: failure }
      return { ...base, ...this.#withImport(pack.id, judged) }
    } catch (error) {
      // whatever it is, it is about this pack: the others are looked at all the same
      const { message, hint } = error instanceof BridgeError ? error : new BridgeError('INTERNAL', `It could not be looked at: ${toWire(error).message}`)
      const state = error instanceof BridgeError && error.code === 'PACK_INCOMPLETE' ? 'unknown' : 'broken'
      return { state, reason: message, requirements: [], warnings: [hint], config: null }
    }
  }

  /** A pack that has all it asks for and still cannot be imported is broken, unless it runs in a worker. */
  #withImport(pack: string, judged: { state: PackState; reason: string }): { state: PackState; reason: string } {
    const host = this.context.hostPacks.get(pack)
    if (judged.state !== 'ready' || host?.loaded !== 'failed' || this.context.isolated.has(pack)) return judged
    const env = this.#envOf(pack) !== null
    const last = host.error?.trim().split('\n').at(-1) ?? 'unknown error'
    if (env) return { state: 'ready', reason: 'Its environment is ready. ComfyUI itself cannot import it: switch isolation on.' }
    return { state: 'broken', reason: `ComfyUI cannot import it: ${last}` }
  }

  #unchecked(pack: PackFolder): PackInfo {
    const off: Isolation = this.context.isolated.has(pack.id) ? { state: 'on' } : { state: 'off' }
    return {
      id: pack.id,
      config: null,
      state: 'unknown',
      reason: 'Being checked.',
      requirements: [],
      warnings: [],
      env: null,
      isolation: this.#isolation.get(pack.id) ?? off,
      loaded: 'no',
      import_error: null,
      classes: null,
      live_classes: [],
      proxied: false,
      class_isolation: {},
      was: this.#goneOnes.was.get(pack.id) ?? null,
    }
  }
}
