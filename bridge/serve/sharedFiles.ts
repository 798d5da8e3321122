import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { toWire } from '../errors/bridgeError'
import { errnoOf } from '../files'
import { quietly } from '../quietly'
import { settleProblem } from './background'
import { CHOICES_UNKNOWN, packFolder, statePath, usesWorker, type Context } from './context'
import type { IsolationService } from './isolationService'
import type { PackService } from './packService'
import { followSettings } from './settingsService'

const LOOK_MS = 1000
/** What begins the problem of anything else that cannot be looked at. */
const UNSEEN = 'What another process has changed is not seen'

/** Tells a file from what it was before, and from another one; null: it is not there. */
async function versionOf(path: string): Promise<string | null> {
  try {
    const { mtimeMs, size, ino } = await stat(path)
    return `${mtimeMs} ${size} ${ino}`
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null
    throw error
  }
}

/**
 * What other processes change is seen here: choices, settings and environments of this home, by another ComfyUI or a command, and the folders of node packs, by
 * ComfyUI-Manager or anyone. By looking, since a folder on a network tells nobody of its changes.
 */
export class SharedFiles {
  readonly #versions = new Map<string, string | null>()
  readonly #timer: NodeJS.Timeout
  #looking = false

  constructor(
    private readonly context: Context,
    private readonly packs: PackService,
    private readonly isolation: IsolationService,
    private readonly onSettings: () => void,
  ) {
    this.#timer = setInterval(() => quietly('it tells itself what it cannot see', this.#look()), LOOK_MS).unref()
  }

  end(): void {
    clearInterval(this.#timer)
  }

  /** One look at a time. Never rejects. */
  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      await this.#lookAt()
      settleProblem(this.context, UNSEEN, null)
    } catch (error) {
      settleProblem(this.context, UNSEEN, toWire(error).message)
    } finally {
      this.#looking = false
    }
  }

  async #lookAt(): Promise<void> {
    const { home } = this.context.engine.settings
    await this.#ifAnother(join(home, 'settings.toml'), async () => {
      const mayStart = followSettings(this.context)
      this.onSettings()
      if (mayStart) await this.isolation.loadFailed()
      return true
    })
    await this.#ifAnother(statePath(home), async () => {
      const fault = await this.isolation.follow().then(() => null, (error: unknown) => error)
      settleProblem(this.context, CHOICES_UNKNOWN, fault === null ? null : toWire(fault).message)
      return fault === null
    })
    await this.#lookAtEnvs()
    await this.packs.follow()
  }

  /** Does `work` for each version of a file, again where it says false: it may not have been readable then. */
  async #ifAnother(path: string, work: () => Promise<boolean>): Promise<void> {
    const version = await versionOf(path)
    if (this.#versions.has(path) && this.#versions.get(path) === version) return
    if (await work()) this.#versions.set(path, version)
  }

  async #lookAtEnvs(): Promise<void> {
    const { store, engine } = this.context
    const underWay = new Set([...store.jobs.values()].filter(({ state }) => state.status === 'running').map(({ env }) => env))
    const records = new Map((await engine.envs.list()).map((record) => [record.id, record]))
    const ids = new Set([...records.keys(), ...[...store.envs.values()].filter(({ state }) => state === 'ready').map(({ id }) => id)])
    const others = [...ids].filter((id) => {
      const [now, shown] = [records.get(id), store.envs.get(id)]
      return !underWay.has(id) && (now?.generation !== shown?.generation || (now !== undefined && (now.previous !== null) !== shown?.can_undo))
    })
    if (others.length === 0) return
    const changed = new Set(others.flatMap((id) => [records.get(id)?.pack ?? [], store.envs.get(id)?.pack ?? []].flat()))
    await this.packs.refreshEnvs()
    for (const pack of changed) {
      const folder = await packFolder(this.context, pack).catch(() => null)
      if (!folder) continue
      if (usesWorker(this.context, pack)) await this.isolation.followEnv(pack)
      await this.packs.refresh(folder)
    }
  }
}
