import { readdir } from 'node:fs/promises'
import { envIdOf } from '../install/envIds'
import { packFolder, type Context } from './context'
import { wantsSandbox } from './workerSpecs'

/** What runs in one process: `id` starts its workers' ids. */
export interface Pool {
  id: string
  packs: string[]
}

/** Names that a pack may have without putting them on Python's path for others to find. */
const OWN = new Set(['__init__', 'install', 'prestartup_script', 'setup', 'tests', 'web', 'js', 'docs', 'locales', 'example_workflows', 'assets'])

/** Names that a pack brings which another pack in the same process would find in its place, once either puts its folder on the path. */
async function topLevelNames(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true })
  const names = entries.filter((entry) => entry.isDirectory() || entry.name.endsWith('.py')).map(({ name }) => name.replace(/\.py$/, ''))
  return names.filter((name) => /^[A-Za-z_]\w*$/.test(name) && !OWN.has(name))
}

/**
 * Which packs share a worker. By default none do. Where the user allows it, packs whose environments hold the same packages share
 * one, as long as no two of them bring a module of one name. A torch takes half a gigabyte in each process.
 */
export class Sharing {
  readonly #pools = new Map<string, Pool>()

  constructor(private readonly context: Context) {}

  /** The id of a pack's pool as it was last found; undefined before. */
  known(pack: string): string | undefined {
    return this.#pools.get(pack)?.id
  }

  /** Environments have changed: look again. */
  forget(): void {
    this.#pools.clear()
  }

  async poolOf(pack: string): Promise<Pool> {
    const known = this.#pools.get(pack)
    if (known) return known
    const pool = this.context.engine.settings.workers.share && !wantsSandbox(this.context, pack) ? await this.#shared(pack) : { id: envIdOf(pack), packs: [pack] }
    for (const name of pool.packs) this.#pools.set(name, pool)
    return pool
  }

  async #shared(pack: string): Promise<Pool> {
    const wanted = await this.#envKey(pack)
    const packs: string[] = []
    const taken = new Set<string>()
    for (const name of [...new Set([...this.context.isolated, pack])].sort()) {
      if (wantsSandbox(this.context, name) || (await this.#envKey(name).catch(() => null)) !== wanted) continue
      const names = await packFolder(this.context, name).then(({ dir }) => topLevelNames(dir), () => null)
      if (!names || names.some((top) => taken.has(top))) continue
      names.forEach((top) => taken.add(top))
      packs.push(name)
    }
    return packs.includes(pack) && packs.length > 1 ? { id: `${envIdOf(packs[0] ?? pack)}-shared`, packs } : { id: envIdOf(pack), packs: [pack] }
  }

  /** Equal for environments that hold the same packages on the same Python. */
  async #envKey(pack: string): Promise<string> {
    const record = await this.context.engine.envs.ofPack(pack)
    if (!record) return 'host'
    const { kind, interpreter, packages } = record
    return JSON.stringify([kind, interpreter, packages.map(({ name, version }) => `${name}==${version}`).sort()])
  }
}
