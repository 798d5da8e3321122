import { readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { EnvRecord } from '../../schemas/env'
import { tomlText } from '../../schemas/shownText'
import type { Engine } from '../engine'
import { BridgeError } from '../errors/bridgeError'
import { cleanUp } from '../install/cleanup'
import { parseLock, renderLock } from '../install/lock'
import { folderSizes } from '../install/sizes'
import { interruptSignal } from './interrupt'
import { table, type Output, waitsFor } from './output'
import { runJob } from './runJob'

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

export async function recordOf(id: string | undefined, engine: Engine, read = (known: string) => engine.envs.read(known)): Promise<EnvRecord> {
  const record = id === undefined ? null : await read(id)
  if (!record) throw new BridgeError('UNKNOWN_ENV', id === undefined ? 'Name an environment.' : `There is no environment \`${id}\`.`)
  return record
}

export async function envsCommand(engine: Engine, output: Output): Promise<number> {
  const records = await engine.envs.list()
  const envs = await Promise.all(
    records.map(async ({ id, kind, pack, generation, previous, combination, packages }) => {
      const [{ bytes }, { unique }] = await Promise.all([folderSizes(engine.envs.generation(id, generation)), folderSizes(engine.envs.folder(id))])
      return { id, kind, pack, generation, can_undo: previous !== null, combination, packages, bytes, unique_bytes: unique }
    }),
  )
  const gone = envs.filter(({ bytes }) => bytes === 0).map(({ id }) => ({ id, reason: 'Its folder is gone.', repairable: false }))
  const broken = [...gone, ...(await engine.envs.damaged()).map(({ id, reason, repairable }) => ({ id, reason, repairable }))]
  output.result({ envs, broken }, () => {
    const whole = envs.filter(({ bytes }) => bytes > 0)
    const rows = whole.map(({ id, kind, pack, bytes, unique_bytes, packages }) => [id, kind, pack, `${packages.length} packages`, megabytes(bytes), `${megabytes(unique_bytes)} of its own`])
    const faults = broken.map(({ id, reason, repairable }) => `${id} is broken: ${reason}${repairable ? ` \`comfy-env repair ${id}\` builds it again.` : ''}`)
    return [table(rows), ...faults].filter(Boolean).join('\n') || 'No environments yet.'
  })
  return 0
}

/** `comfy-env undo ENV`: back to its state before the last install, without network. */
export async function undoCommand(id: string | undefined, engine: Engine, output: Output): Promise<number> {
  const record = await recordOf(id, engine)
  const undone = await engine.envs.undo(record.id, { signal: interruptSignal(), onWait: waitsFor(record.id, output) })
  output.result({ env: undone.id, generation: undone.generation, packages: undone.packages }, () => `${undone.id} is back at its earlier state (${undone.packages.length} packages).`)
  return 0
}

/** `comfy-env repair ENV`: builds it again from its lock, also where its record is damaged. */
export async function repairCommand(id: string | undefined, engine: Engine, output: Output): Promise<number> {
  const record = await recordOf(id, engine, (known) => engine.envs.find(known))
  const job = await runJob({ action: 'repair', pack: record.pack, env: record.id }, engine, output)
  output.result({ env: record.id, job }, () => `${record.id} was built again from its lock.`)
  return 0
}

/** `comfy-env export ENV [FILE]`: its lock, a `pylock.toml`. What a terminal would obey, or not show, is written as escapes: the document is safe to print, and what was exported. */
export async function exportCommand(id: string | undefined, file: string | undefined, engine: Engine, output: Output): Promise<number> {
  const record = await recordOf(id, engine)
  const text = tomlText(renderLock(await engine.envs.lock(record)))
  if (file !== undefined) await writeFile(file, text)
  output.result({ env: record.id, ...(file === undefined ? { pylock: text } : { file: resolve(file) }) }, () => (file === undefined ? text.replace(/\n$/, '') : `Written to ${file}.`))
  return 0
}

/** `comfy-env import FILE`: builds the env that a lock describes. */
export async function importCommand(file: string | undefined, engine: Engine, output: Output): Promise<number> {
  if (file === undefined) throw new BridgeError('BAD_USAGE', 'comfy-env import needs a pylock.toml that `comfy-env export` wrote.')
  const path = resolve(file)
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new BridgeError('BAD_USAGE', `${file} cannot be read.`, { cause })
  })
  const { pack } = parseLock(text, path)
  const job = await runJob({ action: 'import', pack, file: path }, engine, output)
  const env = engine.envs.idOf(pack)
  output.result({ env, job }, () => `${env} was built from ${file}.`)
  return 0
}

/** `comfy-env cleanup`: what may go without loss, and with --delete its deletion. */
export async function cleanupCommand(remove: boolean, engine: Engine, output: Output): Promise<number> {
  const signal = interruptSignal()
  const found = await cleanUp(engine.envs, engine.settings.cache, engine.uv, remove, (of) => ({ signal, onWait: waitsFor(of, output) }))
  const bytes = found.reduce((sum, item) => sum + item.bytes, 0)
  output.result({ deleted: remove, bytes, items: found }, () => {
    if (found.length === 0) return 'Nothing to clean up.'
    const rows = found.map((item) => [megabytes(item.bytes), item.what])
    return [table(rows), remove ? `${megabytes(bytes)} freed.` : `${megabytes(bytes)} can be freed: comfy-env cleanup --delete`].join('\n')
  })
  return 0
}
