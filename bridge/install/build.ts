import { createHash } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EnvRecord } from '../../schemas/env'
import type { JobPhase, LogLine } from '../../schemas/job'
import { BridgeError } from '../errors/bridgeError'
import { asDiskError } from '../files'
import { readInstalled } from '../packs/installed'
import { askInterpreter } from '../probe/interpreter'
import { redact } from '../resolve/candidate'
import type { Wanted } from './download'
import { fetchWheel } from './download'
import { pythonIn, type EnvStore } from './envStore'
import type { FullPlan } from './plan'
import type { Uv } from './uv'
import { installLockArgs, installWheelsArgs, venvArgs } from './uvArgs'
import { checkRecords, importFailure } from './verify'

/** Where a running build tells how far it is. */
export interface Reporter {
  phase(phase: JobPhase, done?: number, total?: number | null, unit?: 'bytes' | 'packages'): void
  log(text: string, level?: LogLine['level']): void
}

export interface BuildInput {
  pack: string
  full: FullPlan
  interpreter: string
  hostSites: string[]
  store: EnvStore
  uv: Uv
  cache: string
  reporter: Reporter
  signal: AbortSignal
}

async function download({ full, cache, reporter, signal }: BuildInput): Promise<string[]> {
  const files: string[] = []
  for (const { url, filename, sha256 } of full.wheels) {
    reporter.log(`download ${redact(url ?? '')}`)
    const wanted: Wanted = { url: url ?? '', filename: filename ?? '', sha256 }
    files.push(await fetchWheel(wanted, cache, (done, total) => reporter.phase('downloading', done, total, 'bytes'), signal))
  }
  return files
}

/**
 * Puts ComfyUI's site-packages behind the env's own. `addsitedir` and not a bare path line, so that ComfyUI's own `.pth` files
 * count (Python's `site`); the name sorts last, so that own packages win.
 */
async function linkHost(site: string, hostSites: string[]): Promise<void> {
  const code = hostSites.map((path) => `site.addsitedir(${JSON.stringify(path)})`).join('; ')
  await writeFile(join(site, 'zzz_envmanager_host.pth'), `import site; ${code}\n`)
}

async function installInto(folder: string, files: string[], input: BuildInput): Promise<string> {
  const { full, uv, reporter, signal, interpreter, hostSites } = input
  const total = full.plan.add.length + full.plan.change.length
  reporter.phase('installing', 0, total, 'packages')
  let done = 0
  const onLine = (text: string): void => {
    if (text.startsWith(' + ')) reporter.phase('installing', ++done, total, 'packages')
    reporter.log(text)
  }
  await uv.run(venvArgs(interpreter, folder), { onLine, signal })
  const python = pythonIn(folder)
  if (full.lock !== null) {
    const lock = join(folder, 'pylock.toml')
    await writeFile(lock, full.lock)
    await uv.run(installLockArgs(python, lock), { onLine, signal })
  }
  if (files.length > 0) await uv.run(installWheelsArgs(python, files), { onLine, signal })
  const site = (await askInterpreter(python)).sites[0] ?? ''
  await linkHost(site, hostSites)
  return site
}

async function verify(folder: string, site: string, { reporter, full, signal }: BuildInput): Promise<void> {
  reporter.phase('verifying')
  const wrong = await checkRecords(site)
  if (wrong.length > 0) {
    wrong.forEach((text) => reporter.log(text, 'error'))
    throw new BridgeError('VERIFY_FAILED', `The new environment is not what was installed: ${wrong[0]}.`, { details: { wrong } })
  }
  reporter.log('every file has the content that its wheel recorded')
  for (const distribution of full.direct) {
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
    if (full.wheels.some((wheel) => wheel.package === distribution)) throw new BridgeError('VERIFY_FAILED', `${what}.`)
    reporter.log(`${what}. The pack may still work.`, 'warn')
  }
}

/**
 * Builds a new generation beside the one in use, verifies it and switches to it. Whatever fails before the switch leaves the
 * env as it was and no folder behind.
 */
export async function buildEnv(input: BuildInput): Promise<EnvRecord> {
  const { full, store, pack, reporter, interpreter, hostSites } = input
  const id = full.plan.env
  const current = await store.read(id)
  const files = await download(input)
  const { generation, folder } = await store.stage(id, current)
  try {
    const site = await installInto(folder, files, input)
    await verify(folder, site, input)
    reporter.phase('switching')
    const record: EnvRecord = {
      schema: 1,
      id,
      kind: full.plan.kind,
      pack,
      generation,
      previous: current?.generation ?? null,
      interpreter,
      host_site: hostSites[0] ?? null,
      requirements_hash: createHash('sha256').update(full.fingerprint).digest('hex'),
      packages: [...(await readInstalled([site]))].map(([name, version]) => ({ name, version })),
      created: Date.now(),
    }
    await writeFile(join(folder, 'envmanager.json'), JSON.stringify(record))
    await store.publish(record)
    return record
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    if (!current) await store.remove(id)
    throw asDiskError(error)
  }
}
