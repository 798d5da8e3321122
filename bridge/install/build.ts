import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EnvRecord } from '../../schemas/env'
import type { JobPhase, LogLine } from '../../schemas/job'
import { BridgeError } from '../errors/bridgeError'
import { asDiskError, writeAtomic } from '../files'
import { emptyMarked } from '../mark'
import { withLock } from '../osLock'
import { readInstalled } from '../packs/installed'
import { askInterpreter } from '../probe/interpreter'
import { redact } from '../resolve/candidate'
import { normalizeName } from '../resolve/requirement'
import type { Http } from '../sources/http'
import { sha256Of } from './cache'
import { cacheLock, fetchWheel } from './download'
import { pythonIn, type EnvStore } from './envStore'
import { inspectWheel, refuseWrongMetadata } from './inspect'
import { directWheels, type EnvLock, renderLock, uvLock, withHashes } from './lock'
import { runInstallScript } from './packScript'
import type { FullPlan } from './plan'
import type { Uv } from './uv'
import { installLockArgs, installWheelsArgs, venvArgs } from './uvArgs'
import { findDamage, importFailure } from './verify'

/** Where a running build tells how far it is. */
export interface Reporter {
  phase(phase: JobPhase, done?: number, total?: number | null, unit?: 'bytes' | 'packages'): void
  log(text: string, level?: LogLine['level']): void
}

export interface BuildInput {
  /** Folder of the pack, for its install script; null: none is run. */
  packDir: string | null
  /** Makes the plan: once the env's turn has come, and against what it holds then. */
  plan: () => Promise<FullPlan>
  env: string
  interpreter: string
  hostSites: string[]
  store: EnvStore
  uv: Uv
  http: Http
  cache: string
  reporter: Reporter
  signal: AbortSignal
}

type Ready = BuildInput & { full: FullPlan }

/** Fetches and looks into our own wheels. Returns their files, and the lock with the hashes of what came. */
async function download({ full, cache, http, reporter, signal }: Ready): Promise<{ files: string[]; lock: EnvLock }> {
  const files: string[] = []
  const hashes = new Map<string, string>()
  for (const wanted of directWheels(full.lock)) {
    reporter.log(`download ${redact(wanted.url)}`)
    await refuseWrongMetadata(wanted, http, signal)
    const file = await fetchWheel(wanted, cache, http, (done, total) => reporter.phase('downloading', done, total, 'bytes'), signal)
    await inspectWheel(file)
    hashes.set(wanted.url, wanted.sha256 ?? (await sha256Of(file)))
    files.push(file)
  }
  return { files, lock: withHashes(full.lock, hashes) }
}

/**
 * Puts ComfyUI's site-packages behind the env's own. `addsitedir` and not a bare path line, so that ComfyUI's own `.pth` files
 * count (Python's `site`); the name sorts last, so that own packages win.
 */
async function linkHost(site: string, hostSites: string[]): Promise<void> {
  const code = hostSites.map((path) => `site.addsitedir(${JSON.stringify(path)})`).join('; ')
  await writeFile(join(site, 'zzz_envmanager_host.pth'), `import site; ${code}\n`)
}

async function installInto(folder: string, files: string[], input: Ready): Promise<string> {
  const { full, uv, reporter, signal, interpreter, hostSites } = input
  const { kind, combination } = full.lock
  const total = full.lock.packages.length
  reporter.phase('installing', 0, total, 'packages')
  let done = 0
  const onLine = (text: string): void => {
    if (text.startsWith(' + ')) reporter.phase('installing', ++done, total, 'packages')
    reporter.log(text)
  }
  const sealed = kind === 'sealed' && combination
  await uv.run(venvArgs(sealed ? pythonFor(combination.python, input) : interpreter, folder, Boolean(sealed)), { onLine, signal })
  const python = pythonIn(folder)
  const text = uvLock(full.lock)
  if (text !== null) {
    const lock = join(folder, 'pylock.uv.toml')
    await writeFile(lock, text)
    await uv.run(installLockArgs(python, lock), { onLine, signal })
  }
  if (files.length > 0) await uv.run(installWheelsArgs(python, files), { onLine, signal })
  const site = (await askInterpreter(python)).sites[0] ?? ''
  if (!sealed) await linkHost(site, hostSites)
  return site
}

/** ComfyUI's own Python where the version is the same; else uv finds or fetches one. */
function pythonFor(version: string, { interpreter, full }: Ready): string {
  return full.lock.python.startsWith(`${version}.`) || full.lock.python === version ? interpreter : version
}

/**
 * uv links an env's files from its cache: who changes one in place changes the cache too, and the next env gets the damage. What is
 * damaged is taken out of the cache, once. True: the env is worth building again.
 */
export async function mendCache(site: string, { reporter, uv, signal }: Pick<BuildInput, 'reporter' | 'uv' | 'signal'>): Promise<boolean> {
  const names = [...new Set((await findDamage(site)).map(({ distribution }) => distribution))]
  if (names.length === 0) return false
  reporter.log(`uv’s cache holds damaged files of ${names.join(', ')}: they are fetched anew`, 'warn')
  await uv.run(['cache', 'clean', ...names], { signal })
  return true
}

async function verify(folder: string, site: string, { reporter, full, signal }: Ready): Promise<void> {
  reporter.phase('verifying')
  const wrong = (await findDamage(site)).map(({ what }) => what)
  if (wrong.length > 0) {
    wrong.forEach((text) => reporter.log(text, 'error'))
    throw new BridgeError('VERIFY_FAILED', `The new environment is not what was installed: ${wrong[0]}.`, { details: { wrong } })
  }
  reporter.log('every file has the content that its wheel recorded')
  for (const distribution of full.lock.probe) {
    const said = await importFailure(pythonIn(folder), site, distribution, signal)
    if (signal.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
    if (said === null) {
      reporter.log(`import ${distribution}: ok`)
      continue
    }
    said.forEach((text) => reporter.log(text, 'warn'))
    const what = `${distribution} was installed, but cannot be imported: ${said.at(-1)}`
    // a wheel of compiled code that does not load is the wrong wheel; an ordinary package may have reasons of its own (an
    // optional backend that a pack never uses), and whether the pack can be imported shows when it is
    if (full.lock.direct.includes(normalizeName(distribution))) throw new BridgeError('VERIFY_FAILED', `${what}.`)
    reporter.log(`${what}. The pack may still work.`, 'warn')
  }
}

async function build(input: Ready): Promise<EnvRecord> {
  const { full, store, env: id, reporter, interpreter, hostSites, packDir } = input
  const current = await store.read(id)
  const { files, lock } = await download(input)
  const { generation, folder } = await store.stage(id, current)
  try {
    let site = await installInto(folder, files, input)
    if (await mendCache(site, input)) {
      await emptyMarked(folder)
      site = await installInto(folder, files, input)
    }
    if (packDir) await runInstallScript(packDir, pythonIn(folder), site, hostSites, full.lock, input)
    await verify(folder, site, input)
    reporter.phase('switching')
    const record: EnvRecord = {
      schema: 1,
      id,
      kind: lock.kind,
      pack: lock.pack,
      generation,
      previous: current?.generation ?? null,
      interpreter,
      host_site: lock.kind === 'sealed' ? null : (hostSites[0] ?? null),
      combination: lock.combination ?? null,
      requirements_hash: createHash('sha256').update(renderLock(lock)).digest('hex'),
      packages: [...(await readInstalled([site]))].map(([name, version]) => ({ name, version })),
      created: Date.now(),
    }
    await writeAtomic(join(folder, 'pylock.toml'), renderLock(lock))
    await writeAtomic(join(folder, 'envmanager.json'), JSON.stringify(record))
    if (input.signal.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
    await store.publish(record)
    return record
  } catch (error) {
    await store.giveUp(id, folder)
    throw asDiskError(error)
  }
}

/**
 * Builds a new generation beside the one in use, verifies it and switches to it, while nothing else changes the env. Whatever fails
 * before the switch leaves the env as it was and no folder behind.
 */
export function buildEnv(input: BuildInput): Promise<EnvRecord> {
  const { store, env, cache, signal, reporter } = input
  const wait = (what: string) => ({ signal, onWait: (): void => reporter.log(`waiting for ${what}`) })
  return store.exclusive(env, wait(`another change of ${env}`), async () => {
    const full = await input.plan()
    return withLock(cacheLock(cache), { ...wait('the deletion of kept downloads'), shared: true }, () => build({ ...input, full }))
  })
}
