import { createHash, randomBytes } from 'node:crypto'
import { access, mkdir, readFile, rename, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { EnvRecord } from '../../schemas/env'
import { EnvId } from '../../schemas/ids'
import { BridgeError, toWire } from '../errors/bridgeError'
import { errnoOf, namesIn, unwritable } from '../files'
import { ifFree, lockIn, type Waiting, withLock } from '../osLock'
import { readState, rewriteState } from '../stateFile'
import { holdGeneration, unlessUsed } from './envUse'
import { parseLock, type EnvLock } from './lock'

/** A pack's env id: its name in small letters, with a few digits of its hash if that loses something. */
export function envIdOf(pack: string): string {
  const plain = pack.toLowerCase().replace(/[^a-z0-9_-]+/g, '-').replace(/^[^a-z0-9]+/, '').slice(0, 48)
  if (plain === pack && plain) return plain
  return `${plain || 'pack'}-${createHash('sha256').update(pack).digest('hex').slice(0, 6)}`
}

/** The interpreter inside an env's folder. */
export function pythonIn(folder: string): string {
  return process.platform === 'win32' ? join(folder, 'Scripts', 'python.exe') : join(folder, 'bin', 'python')
}

const numberOf = (name: string): number => Number(/^gen-(\d+)$/.exec(name)?.[1] ?? 0)
const exists = (path: string): Promise<boolean> => access(path).then(() => true, () => false)

/** An environment whose record cannot be read. `record`: what its newest whole generation says of itself; null: there is none. */
export interface Damaged {
  id: string
  reason: string
  record: EnvRecord | null
  /** False: it may be whole, and only this version or this moment cannot read it. */
  repairable: boolean
}

/**
 * The environments on disk: `envs/<id>/env.json` and `envs/<id>/gen-<n>/`. The record names the generation in use and is
 * replaced by one rename, last; so a kill at any moment leaves the old env or the new one. A record that cannot be read is never taken for absent.
 *
 * Whatever changes an env holds its lock. `undo`, `forgetPrevious`, `remove` and `sweep` take it themselves; `stage`, `recover`, `publish` and `giveUp` are
 * for who holds it by `exclusive`.
 */
export class EnvStore {
  readonly #root: string
  readonly #home: string

  constructor(home: string) {
    this.#root = join(home, 'envs')
    this.#home = home
  }

  folder(id: string): string {
    return join(this.#root, id)
  }

  generation(id: string, generation: number): string {
    return join(this.folder(id), `gen-${generation}`)
  }

  pythonOf(record: EnvRecord): string {
    return pythonIn(this.generation(record.id, record.generation))
  }

  /** Runs `work` while nothing else changes an env, in this process and in all. Throws CANCELLED. */
  exclusive<T>(id: string, waiting: Waiting, work: () => Promise<T>): Promise<T> {
    return withLock(this.#lock(id), waiting, work)
  }

  #lock(id: string): string {
    return lockIn(this.#home, `env-${id}`)
  }

  #record(id: string): string {
    return join(this.folder(id), 'env.json')
  }

  /** What the generation in use was built from. Throws ENV_BROKEN where that is lost. */
  async lock(record: EnvRecord): Promise<EnvLock> {
    const path = join(this.generation(record.id, record.generation), 'pylock.toml')
    const text = await readFile(path, 'utf8').catch((cause: unknown) => {
      throw new BridgeError('ENV_BROKEN', `The lock of \`${record.id}\` is gone (${path}).`, { cause, hint: 'Install the pack again.' })
    })
    return parseLock(text, path)
  }

  /** An env's record; null: it has none. Throws ENV_BROKEN where it is damaged, FILE_UNREADABLE where it could not be read now. */
  async read(id: string): Promise<EnvRecord | null> {
    try {
      return (await readState(this.#record(id), EnvRecord))?.value ?? null
    } catch (cause) {
      if (!(cause instanceof BridgeError) || cause.details?.damaged !== true) throw cause
      const [whole] = await this.#whole(id)
      const hint = whole ? `\`comfy-env repair ${id}\` builds it again from its newest whole state.` : `No whole state of it is left: delete ${this.folder(id)}, then install the pack again.`
      throw new BridgeError('ENV_BROKEN', cause.message, { cause, hint })
    }
  }

  /**
   * An env's record, and a hold on the generation that it names: nobody deletes that until `leave`. Null: there is no env. Throws as `read` does.
   */
  async use(id: string): Promise<{ record: EnvRecord; leave: () => void } | null> {
    for (;;) {
      const record = await this.read(id)
      if (!record) return null
      const leave = await holdGeneration(this.#home, id, record.generation)
      const now = await this.read(id).catch((error: unknown) => (leave(), Promise.reject(error)))
      if (now?.generation === record.generation) return { record: now, leave }
      leave() // another process has switched it meanwhile
    }
  }

  /** The same, or what the newest whole generation of a damaged env says of itself. */
  async find(id: string): Promise<EnvRecord | null> {
    const record = await this.read(id).catch((error: unknown) => (isBroken(error) ? null : Promise.reject(error)))
    return record ?? (await this.#whole(id))[0] ?? null
  }

  async #ids(): Promise<string[]> {
    return (await namesIn(this.#root)).filter((name) => EnvId.safeParse(name).success)
  }

  /** The environments whose records can be read. */
  async list(): Promise<EnvRecord[]> {
    const records = await Promise.all((await this.#ids()).map((id) => this.read(id).catch(() => null)))
    return records.filter((record) => record !== null).sort((a, b) => a.id.localeCompare(b.id))
  }

  /** Those whose records cannot: they are neither used nor deleted. */
  async damaged(): Promise<Damaged[]> {
    const found = await Promise.all((await this.#ids()).map((id) => this.#damage(id)))
    return found.filter((one) => one !== null)
  }

  async #damage(id: string): Promise<Damaged | null> {
    const fault = await this.read(id).then((record) => (record ? null : new BridgeError('ENV_BROKEN', `${this.#record(id)} is gone.`)), (error: unknown) => error)
    const [record = null] = fault === null ? [] : await this.#whole(id).catch(() => [])
    // without record and whole generation it is what a killed first install has left
    if (fault === null || (record === null && !(await exists(this.#record(id))))) return null
    return { id, reason: toWire(fault).message, record, repairable: record !== null && isBroken(fault) }
  }

  /** What a user should hear of the environments on disk. Never throws. */
  async problems(): Promise<string[]> {
    const notes = async (): Promise<string[]> => {
      const read = await Promise.all((await this.#ids()).map((id) => readState(this.#record(id), EnvRecord).catch(() => null)))
      const broken = (await this.damaged()).map(({ id, reason, repairable }) => `${reason} The environment is neither used nor deleted.${repairable ? ` \`comfy-env repair ${id}\` builds it again.` : ''}`)
      return [...read.flatMap((one) => one?.note ?? []), ...broken]
    }
    return notes().catch((error: unknown) => [toWire(error).message])
  }

  /** What whole generations say of themselves, newest first. Their record is written last. */
  async #whole(id: string): Promise<EnvRecord[]> {
    const names = (await namesIn(this.folder(id))).filter((name) => numberOf(name) > 0).sort((a, b) => numberOf(b) - numberOf(a))
    const records = await Promise.all(names.map((name) => readState(join(this.folder(id), name, 'envmanager.json'), EnvRecord).catch(() => null)))
    return records.flatMap((read, at) => (read && read.value.generation === numberOf(names[at] ?? '') ? [read.value] : []))
  }

  /** The record of an env that is to be built again. A damaged one is put aside, and the newest whole generation takes its place. */
  async recover(id: string): Promise<EnvRecord | null> {
    const record = await this.read(id).catch((error: unknown) => (isBroken(error) ? null : Promise.reject(error)))
    if (record) return record
    const [newest, before] = await this.#whole(id)
    if (!newest) return null
    const path = this.#record(id)
    await rename(path, `${path}.damaged`).catch((error: unknown) => (errnoOf(error) === 'ENOENT' ? undefined : Promise.reject(unwritable(path, error))))
    return rewriteState(path, EnvRecord, () => ({ ...newest, previous: before?.generation ?? null }))
  }

  /**
   * A folder for a new generation, beside the one in use. Its number is one that no folder has: a uv that outlived a killed
   * bridge may still write into an older one.
   */
  async stage(id: string, current: EnvRecord | null): Promise<{ generation: number; folder: string }> {
    const taken = (await namesIn(this.folder(id))).map(numberOf)
    const generation = Math.max(0, current?.generation ?? 0, current?.previous ?? 0, ...taken) + 1
    await mkdir(this.folder(id), { recursive: true }).catch((error: unknown) => Promise.reject(unwritable(this.folder(id), error)))
    return { generation, folder: this.generation(id, generation) }
  }

  /** The switch: from here on the new generation is the env. */
  async publish(record: EnvRecord): Promise<void> {
    await rewriteState(this.#record(record.id), EnvRecord, () => record)
    await this.#sweepEnv(record)
  }

  /** Deletes a generation that did not become the env, and the env's folder if nothing else is in it. */
  async giveUp(id: string, folder: string): Promise<void> {
    await rm(folder, { recursive: true, force: true })
    await rmdir(this.folder(id)).catch(() => undefined)
  }

  /** Back to the generation before, without network. Undoing again comes back. Throws UNKNOWN_ENV. */
  undo(id: string, waiting: Waiting): Promise<EnvRecord> {
    return this.exclusive(id, waiting, async () => {
      const record = await this.read(id)
      if (!record) throw new BridgeError('UNKNOWN_ENV', `There is no environment \`${id}\`.`)
      if (record.previous === null) throw new BridgeError('UNKNOWN_ENV', `\`${id}\` has no earlier state to go back to.`)
      const folder = this.generation(id, record.previous)
      const before = await readState(join(folder, 'envmanager.json'), EnvRecord).catch(() => null)
      if (!before) throw new BridgeError('UNKNOWN_ENV', `The earlier state of \`${id}\` is damaged.`)
      return rewriteState(this.#record(id), EnvRecord, () => ({ ...before.value, previous: record.generation }))
    })
  }

  /** Gives up the state before: undo is gone, its space is free. */
  forgetPrevious(id: string, waiting: Waiting): Promise<void> {
    return this.exclusive(id, waiting, async () => {
      const record = await this.read(id)
      if (record) await this.publish({ ...record, previous: null })
    })
  }

  /** Deletes an env. Throws ENV_BUSY where a worker of any process runs on it, FILE_UNWRITABLE where it cannot be. */
  remove(id: string, waiting: Waiting): Promise<void> {
    return this.exclusive(id, waiting, async () => {
      for (const generation of (await namesIn(this.folder(id))).map(numberOf).filter(Boolean)) {
        const isUnused = await unlessUsed(this.#home, id, generation, async () => undefined)
        if (!isUnused) throw new BridgeError('ENV_BUSY', `${id} is used by workers of another ComfyUI.`, { hint: 'Switch the isolation of its pack off there, or stop that ComfyUI.' })
      }
      const doomed = join(this.#root, `${REMOVED}${id}-${randomBytes(4).toString('hex')}`)
      await rename(this.folder(id), doomed).catch((error: unknown) => (errnoOf(error) === 'ENOENT' ? undefined : Promise.reject(unwritable(this.folder(id), error))))
      await rm(doomed, { recursive: true, force: true }).catch(() => undefined) // the next start goes on
    })
  }

  /** Deletes what a kill left behind: generations that no record names, and removals that were not finished. What is being changed is left. Never throws. */
  async sweep(): Promise<void> {
    const names = await namesIn(this.#root).catch(() => [] as string[])
    for (const name of names) {
      if (name.startsWith(REMOVED)) await rm(join(this.#root, name), { recursive: true, force: true }).catch(() => undefined)
      else if (EnvId.safeParse(name).success) await ifFree(this.#lock(name), () => this.#sweepOne(name)).catch(() => undefined)
    }
  }

  async #sweepOne(id: string): Promise<void> {
    const record = await this.read(id)
    if (record) return this.#sweepEnv(record)
    if ((await this.#whole(id)).length > 0) return // its record is lost: repair takes it up
    for (const name of await namesIn(this.folder(id))) if (numberOf(name) > 0) await rm(join(this.folder(id), name), { recursive: true, force: true })
    await rmdir(this.folder(id))
  }

  /** Deletes the generations that a record does not name. What a uv that outlived its bridge still writes is deleted the next time. */
  async #sweepEnv({ id, generation, previous }: EnvRecord): Promise<void> {
    const names = await namesIn(this.folder(id)).catch(() => [] as string[])
    const doomed = names.filter((name) => numberOf(name) > 0 && numberOf(name) !== generation && numberOf(name) !== previous)
    for (const name of doomed) {
      await unlessUsed(this.#home, id, numberOf(name), () => rm(join(this.folder(id), name), { recursive: true, force: true })).catch(() => undefined)
    }
  }
}

/** Starts the name of an env that is being deleted. */
const REMOVED = '.removed-'

const isBroken = (error: unknown): boolean => error instanceof BridgeError && error.code === 'ENV_BROKEN'
