import { createHash } from 'node:crypto'
import { access, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { EnvRecord } from '../../schemas/env'
import { EnvId } from '../../schemas/ids'
import { BridgeError } from '../errors/bridgeError'
import { asDiskError, readJson, writeAtomic } from '../files'
import { parseLock, type EnvLock } from './lock'
import { isTaken } from './turns'

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

/**
 * The environments on disk: `envs/<id>/env.json` and `envs/<id>/gen-<n>/`. The record names the generation in use and is
 * replaced by one rename, last; so a kill at any moment leaves the old env or the new one.
 */
export class EnvStore {
  readonly #root: string
  readonly #jobs: string

  constructor(home: string) {
    this.#root = join(home, 'envs')
    this.#jobs = join(home, 'jobs')
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

  /** Where jobs of an env wait for their turn. */
  turns(id: string): string {
    return join(this.#jobs, id)
  }

  /** What the generation in use was built from. Throws ENV_BROKEN where that is lost. */
  async lock(record: EnvRecord): Promise<EnvLock> {
    const path = join(this.generation(record.id, record.generation), 'pylock.toml')
    const text = await readFile(path, 'utf8').catch((cause: unknown) => {
      throw new BridgeError('ENV_BROKEN', `The lock of \`${record.id}\` is gone (${path}).`, { cause, hint: 'Install the pack again.' })
    })
    return parseLock(text, path)
  }

  read(id: string): Promise<EnvRecord | null> {
    return readJson(join(this.folder(id), 'env.json'), EnvRecord)
  }

  async list(): Promise<EnvRecord[]> {
    const names = await readdir(this.#root).catch(() => [] as string[])
    const records = await Promise.all(names.filter((name) => EnvId.safeParse(name).success).map((name) => this.read(name)))
    return records.filter((record) => record !== null).sort((a, b) => a.id.localeCompare(b.id))
  }

  /**
   * A folder for a new generation, beside the one in use. Its number is one that no folder has: a uv that outlived a killed
   * bridge may still write into an older one.
   */
  async stage(id: string, current: EnvRecord | null): Promise<{ generation: number; folder: string }> {
    const names = await readdir(this.folder(id)).catch(() => [] as string[])
    const taken = names.map((name) => Number(/^gen-(\d+)$/.exec(name)?.[1] ?? 0))
    const generation = Math.max(0, current?.generation ?? 0, current?.previous ?? 0, ...taken) + 1
    await mkdir(this.folder(id), { recursive: true }).catch((error: unknown) => Promise.reject(asDiskError(error)))
    return { generation, folder: this.generation(id, generation) }
  }

  /** The switch: from here on the new generation is the env. */
  async publish(record: EnvRecord): Promise<void> {
    await writeAtomic(join(this.folder(record.id), 'env.json'), `${JSON.stringify(record, null, 2)}\n`)
    await this.sweepEnv(record)
  }

  /** Back to the generation before, without network. Undoing again comes back. */
  async undo(id: string): Promise<EnvRecord> {
    const record = await this.read(id)
    if (!record) throw new BridgeError('UNKNOWN_ENV', `There is no environment \`${id}\`.`)
    if (record.previous === null) throw new BridgeError('UNKNOWN_ENV', `\`${id}\` has no earlier state to go back to.`)
    const before = await readJson(join(this.generation(id, record.previous), 'envmanager.json'), EnvRecord)
    if (!before) throw new BridgeError('UNKNOWN_ENV', `The earlier state of \`${id}\` is damaged.`)
    const undone = { ...before, previous: record.generation }
    await writeAtomic(join(this.folder(id), 'env.json'), `${JSON.stringify(undone, null, 2)}\n`)
    return undone
  }

  /** Gives up the state before: undo is gone, its space is free. */
  async forgetPrevious(id: string): Promise<void> {
    const record = await this.read(id)
    if (record) await this.publish({ ...record, previous: null })
  }

  async remove(id: string): Promise<void> {
    const doomed = join(this.#root, `.removed-${id}-${Date.now()}`)
    await rename(this.folder(id), doomed).catch(() => undefined)
    await rm(doomed, { recursive: true, force: true })
  }

  /** Deletes what a kill left behind: generations that no record names, and removals that were not finished. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.#root).catch(() => [] as string[])) {
      if (await isTaken(this.turns(name))) continue // a job of another process builds there
      const record = EnvId.safeParse(name).success ? await this.read(name) : null
      if (record) await this.sweepEnv(record)
      else if (!(await this.#hasRecord(name))) await rm(join(this.#root, name), { recursive: true, force: true })
    }
  }

  #hasRecord(id: string): Promise<boolean> {
    return access(join(this.folder(id), 'env.json')).then(() => true, () => false)
  }

  /** Environments whose record another version has written: they are neither used nor deleted. */
  async unreadable(): Promise<string[]> {
    const names = (await readdir(this.#root).catch(() => [] as string[])).filter((name) => EnvId.safeParse(name).success)
    const found = await Promise.all(names.map(async (name) => (await this.#hasRecord(name)) && (await this.read(name)) === null))
    return names.filter((_, at) => found[at])
  }

  private async sweepEnv({ id, generation, previous }: EnvRecord): Promise<void> {
    const kept = new Set(['env.json', `gen-${generation}`, ...(previous === null ? [] : [`gen-${previous}`])])
    for (const name of await readdir(this.folder(id))) {
      // what a uv that outlived its bridge still writes is deleted the next time
      if (!kept.has(name)) await rm(join(this.folder(id), name), { recursive: true, force: true }).catch(() => undefined)
    }
  }
}
