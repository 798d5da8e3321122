import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { access, rename } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { EnvRecord } from '../../schemas/env'
import { EnvId } from '../../schemas/ids'
import { BridgeError, toWire } from '../errors/bridgeError'
import { errnoOf, namesIn, readText, unwritable } from '../files'
import { isFolder, isMarked, markFolder, refuseLink } from '../mark'
import { ifFree, lockIn, type Waiting, withLock } from '../osLock'
import { readState, rewriteState } from '../stateFile'
import { foreignIn, isEnvOf, isOurEnv, makeGeneration, numberOf, removeEnv, removeGeneration, removeIfUnused, wholeGenerations } from './envFolders'
import { envIdOf, olderEnvIdOf } from './envIds'
import { isBroken, readRecord, recordIn, writtenRecord } from './envRecords'
import { holdGeneration, unlessUsed } from './envUse'
import { parseLock, type EnvLock } from './lock'

/** The interpreter inside an env's folder. */
export function pythonIn(folder: string): string {
  return process.platform === 'win32' ? join(folder, 'Scripts', 'python.exe') : join(folder, 'bin', 'python')
}

const exists = (path: string): Promise<boolean> => access(path).then(() => true, () => false)

/** An environment whose record cannot be read, or be believed. `record`: what its newest whole generation says of itself; null: there is none. */
export interface Damaged {
  id: string
  reason: string
  record: EnvRecord | null
  /** False: it may be whole, and only this version or this moment cannot read it. */
  repairable: boolean
}

/**
 * The environments on disk: `envs/<id>/env.json` and `envs/<id>/gen-<n>/`. The record names the generation in use and is
 * replaced by one rename, last; so a kill at any moment leaves the old env or the new one. A record that cannot be read is never taken for absent, and one that names
 * no whole generation deletes none. What is not ours there (`envFolders.ts`) is left alone, and nothing is changed behind a link.
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

  /** The id of a pack's env: the one that it has, or that it would get. */
  idOf(pack: string): string {
    const [id, older] = [envIdOf(pack), olderEnvIdOf(pack)]
    const isOlder = older !== id && !existsSync(this.#record(id)) && isEnvOf(this.folder(older), pack)
    return isOlder ? older : id
  }

  /** A pack's env; null: it has none. Throws as `read` does. */
  ofPack(pack: string): Promise<EnvRecord | null> {
    return this.read(this.idOf(pack))
  }

  pythonOf(record: EnvRecord): string {
    return pythonIn(this.generation(record.id, record.generation))
  }

  /** Runs `work` while nothing else changes an env, in this process and in all. Throws CANCELLED, or NOT_OURS where a link takes its place. */
  exclusive<T>(id: string, waiting: Waiting, work: () => Promise<T>): Promise<T> {
    return withLock(this.#lock(id), waiting, () => {
      refuseLink(this.#root)
      refuseLink(this.folder(id))
      return work()
    })
  }

  #lock(id: string): string {
    return lockIn(this.#home, `env-${id}`)
  }

  #record(id: string): string {
    return recordIn(this.folder(id))
  }

  /** What the generation in use was built from. Throws ENV_BROKEN where that is lost. */
  async lock(record: EnvRecord): Promise<EnvLock> {
    const path = join(this.generation(record.id, record.generation), 'pylock.toml')
    const broken = (message: string, cause?: unknown) => new BridgeError('ENV_BROKEN', message, { cause, hint: 'Install the pack again.' })
    const text = await readText(path).catch((cause: unknown) => Promise.reject(broken(toWire(cause).message, cause)))
    if (text === null) throw broken(`The lock of \`${record.id}\` is gone (${path}).`)
    return parseLock(text, path)
  }

  /**
   * An env's record; null: it has none. Throws ENV_BROKEN where it is damaged, or names a generation that is not there while another one is whole, NOT_OURS where it
   * is another env's, FILE_UNREADABLE where it could not be read now.
   */
  read(id: string): Promise<EnvRecord | null> {
    return readRecord(this.folder(id), id)
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

  /** The record of an env, or what the newest whole generation of a damaged one says of itself. */
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

  /** Those whose records cannot, or name what is not there: they are neither used nor deleted. */
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
      return [...read.flatMap((one) => one?.note ?? []), ...broken, ...(await this.#stranded())]
    }
    return notes().catch((error: unknown) => [toWire(error).message])
  }

  /** What others had put into environments that are deleted, and what could not be moved back to where it was. */
  async #stranded(): Promise<string[]> {
    const said: string[] = []
    for (const name of await namesIn(this.#root)) {
      const [id, folder] = [REMOVAL.exec(name)?.[1], join(this.#root, name)]
      if (id === undefined || !isMarked(folder, 'env', id)) continue
      const [foreign = []] = (await ifFree(this.#lock(id), async () => [await foreignIn(folder, id)])) ?? []
      if (foreign.length > 0) said.push(`${folder} holds what we have not made (${foreign.join(', ')}), of an environment that was deleted. It could not be moved back to ${this.folder(id)}: take it from there.`)
    }
    return said
  }

  #whole(id: string): Promise<EnvRecord[]> {
    return wholeGenerations(this.folder(id), id)
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
   * A folder for a new generation, beside the one in use, with our mark in it. Its number is one that no folder has: a uv that outlived a killed
   * bridge may still write into an older one.
   */
  async stage(id: string, current: EnvRecord | null): Promise<{ generation: number; folder: string }> {
    const taken = (await namesIn(this.folder(id))).map(numberOf)
    const generation = Math.max(0, current?.generation ?? 0, current?.previous ?? 0, ...taken) + 1
    return { generation, folder: await makeGeneration(this.folder(id), id, generation) }
  }

  /** The switch: from here on the new generation is the env. */
  async publish(record: EnvRecord): Promise<void> {
    await rewriteState(this.#record(record.id), EnvRecord, () => record)
    await markFolder(this.folder(record.id), 'env', record.id).catch(() => undefined) // that of an earlier version
    await this.#sweepEnv(record)
  }

  /** Deletes a generation that did not become the env, and the env's folder if nothing else is in it. */
  async giveUp(id: string, folder: string): Promise<void> {
    await removeGeneration(this.folder(id), id, basename(folder))
    await removeIfUnused(this.folder(id), id).catch(() => undefined)
  }

  /** Back to the generation before, without network. Undoing again comes back. Throws UNKNOWN_ENV. */
  undo(id: string, waiting: Waiting): Promise<EnvRecord> {
    return this.exclusive(id, waiting, async () => {
      // also from a generation that somebody has deleted
      const record = await this.read(id).catch((error: unknown) => writtenRecord(this.folder(id), id).catch(() => Promise.reject(error)))
      if (!record) throw new BridgeError('UNKNOWN_ENV', `There is no environment \`${id}\`.`)
      if (record.previous === null) throw new BridgeError('UNKNOWN_ENV', `\`${id}\` has no earlier state to go back to.`)
      const folder = this.generation(id, record.previous)
      const before = await readState(join(folder, 'envmanager.json'), EnvRecord).catch(() => null)
      if (!before) throw new BridgeError('UNKNOWN_ENV', `The earlier state of \`${id}\` is damaged.`)
      return rewriteState(this.#record(id), EnvRecord, () => ({ ...before.value, previous: record.generation }), before)
    })
  }

  /**
   * Gives up the state before: undo is gone, its space is free. It is deleted before the record is written, which needs space on a full disk; a kill between the two
   * leaves an undo that says that there is nothing to go back to. The record names it as long as it is there. Throws ENV_BUSY where a worker of any process
   * runs on it, FILE_UNWRITABLE where it cannot be deleted.
   */
  forgetPrevious(id: string, waiting: Waiting): Promise<void> {
    return this.exclusive(id, waiting, async () => {
      const record = await this.read(id)
      if (!record || record.previous === null) return
      const folder = this.generation(id, record.previous)
      const isUnused = await unlessUsed(this.#home, id, record.previous, () => removeGeneration(this.folder(id), id, basename(folder))).catch((error: unknown) =>
        Promise.reject(error instanceof BridgeError ? error : unwritable((error as NodeJS.ErrnoException).path ?? folder, error)),
      )
      if (!isUnused) throw new BridgeError('ENV_BUSY', `The earlier state of ${id} is used by running workers.`, { hint: 'Free space again when they have ended.' })
      if (isFolder(folder)) throw new BridgeError('FILE_UNWRITABLE', `${folder} is still there: somebody writes into it, or we have not made it.`, { details: { file: folder } })
      await this.publish({ ...record, previous: null })
    })
  }

  async #removeUnused(id: string, name: string): Promise<void> {
    await unlessUsed(this.#home, id, numberOf(name), () => removeGeneration(this.folder(id), id, name)).catch(() => undefined)
  }

  /** Deletes what is ours of an env. Throws NOT_OURS where nothing is, ENV_BUSY where a worker of any process runs on it, FILE_UNWRITABLE where it cannot be. */
  remove(id: string, waiting: Waiting): Promise<void> {
    return this.exclusive(id, waiting, async () => {
      const folder = this.folder(id)
      if (!(await exists(folder))) return
      if (!(await isOurEnv(folder, id))) throw new BridgeError('NOT_OURS', `${folder} has neither our mark nor a record of ours.`, { hint: 'Delete it yourself if it is not needed.' })
      for (const generation of (await namesIn(folder)).map(numberOf).filter(Boolean)) {
        const isUnused = await unlessUsed(this.#home, id, generation, async () => undefined)
        if (!isUnused) throw new BridgeError('ENV_BUSY', `${id} is used by workers of another ComfyUI.`, { hint: 'Switch the isolation of its pack off there, or stop that ComfyUI.' })
      }
      await markFolder(folder, 'env', id).catch(() => undefined) // on a full disk it goes without
      const doomed = join(this.#root, `${REMOVED}${id}-${randomBytes(4).toString('hex')}`)
      await rename(folder, doomed).catch((error: unknown) => Promise.reject(unwritable(folder, error)))
      await removeEnv(doomed, id, folder).catch(() => undefined) // the next start goes on
    })
  }

  /** Deletes what a kill left behind: generations that no record names, and removals that were not finished. What is being changed is left. Never throws. */
  async sweep(): Promise<void> {
    if (!isFolder(this.#root)) return
    for (const name of await namesIn(this.#root).catch(() => [] as string[])) {
      const id = REMOVAL.exec(name)?.[1] ?? name
      if (EnvId.safeParse(id).success && isFolder(join(this.#root, name))) await ifFree(this.#lock(id), () => this.#sweepOne(name, id)).catch(() => undefined)
    }
  }

  async #sweepOne(name: string, id: string): Promise<void> {
    if (name !== id) return removeEnv(join(this.#root, name), id, this.folder(id))
    const record = await this.read(id)
    if (record) return this.#sweepEnv(record)
    if ((await this.#whole(id)).length > 0) return // its record is lost: repair takes it up
    for (const each of await namesIn(this.folder(id))) await removeGeneration(this.folder(id), id, each)
    await removeIfUnused(this.folder(id), id)
  }

  /** Deletes the generations that a record does not name. What a uv that outlived its bridge still writes is deleted the next time. */
  async #sweepEnv({ id, generation, previous }: EnvRecord): Promise<void> {
    const names = await namesIn(this.folder(id)).catch(() => [] as string[])
    const doomed = names.filter((name) => numberOf(name) > 0 && numberOf(name) !== generation && numberOf(name) !== previous)
    for (const name of doomed) await this.#removeUnused(id, name)
  }
}

/** Starts the name of an env that is being deleted. */
const REMOVED = '.removed-'
const REMOVAL = /^\.removed-(.+)-[0-9a-f]+$/
