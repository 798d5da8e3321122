import { access, constants, mkdir } from 'node:fs/promises'
import type { Check } from '../schemas/care'
import type { EnvRecord } from '../schemas/env'
import type { Engine } from './engine'
import { toWire } from './errors/bridgeError'
import { CATALOGUE } from './errors/catalogue'
import { hostOf, whyUnrunnable } from './install/hostOf'
import { findDamage, importFailure } from './install/verify'
import { askInterpreter } from './probe/interpreter'
import { driverRuns } from './resolve/judge'
import { torchServes } from './resolve/torchBuilds'
import { minor, numbers } from './resolve/versions'
import { run } from './run'
import { freeBytes } from './serve/hostInfo'
import { findBwrap } from './workers/sandbox'

/** What is wrong with one environment, by looking inside it; null: nothing. */
async function problemOf(record: EnvRecord, engine: Engine): Promise<string | null> {
  const python = engine.envs.pythonOf(record)
  const gone = await whyUnrunnable(record, python, engine.hostSites)
  if (gone !== null) return gone
  const site = await askInterpreter(python).then(({ sites }) => sites[0] ?? '', () => null)
  if (site === null) return 'its Python does not run'
  const wrong = await findDamage(site)
  if (wrong[0]) return `${wrong[0].what} (${wrong.length} in all)`
  const { direct } = await engine.envs.lock(record).catch(() => ({ direct: [] as string[] }))
  for (const name of direct) {
    const said = await importFailure(python, site, name, AbortSignal.timeout(60_000))
    if (said) return `${name} cannot be imported: ${said.at(-1)}`
  }
  return null
}

async function envCheck(record: EnvRecord, engine: Engine): Promise<Check> {
  const id = `env:${record.id}`
  const fix = `comfy-env repair ${record.id}`
  try {
    const problem = await problemOf(record, engine)
    if (problem) return { id, status: 'fail', message: problem, fix }
    if ((await hostOf(record, engine.hostSites)) === 'other') return { id, status: 'warn', message: `it stands on the packages of another ComfyUI (${record.host_site})`, fix }
    return { id, status: 'ok', message: `${record.packages.length} packages, all as installed`, fix: '' }
  } catch (error) {
    return { id, status: 'fail', message: toWire(error).message, fix }
  }
}

async function envChecks(engine: Engine): Promise<Check[]> {
  const records = await engine.envs.list()
  const damaged = (await engine.envs.damaged()).map(({ id, reason, repairable }): Check => ({ id: `env:${id}`, status: 'fail', message: reason, fix: repairable ? `comfy-env repair ${id}` : CATALOGUE.FILE_UNREADABLE.hint }))
  const checked = await Promise.all(records.map((record) => envCheck(record, engine)))
  return [...checked, ...damaged]
}

/** Whether the driver runs torch's CUDA, and torch has code for every GPU. */
function gpuChecks({ fingerprint }: Engine): Check[] {
  const { torch, cuda, gpus, platform, python } = fingerprint
  if (!torch?.cuda) return []
  const [major = 0] = numbers(torch.cuda)
  const tooOld = cuda?.driver && !driverRuns(major, cuda.driver, platform.os)
  const combination = { python: minor(python.version), torch: torch.version, cuda: torch.cuda }
  const unserved = gpus.filter(({ compute }) => torchServes(combination, platform.arch, compute) === false)
  const driver: Check = tooOld
    ? { id: 'driver', status: 'fail', message: `${cuda.driver} is too old for CUDA ${torch.cuda}`, fix: 'Update the NVIDIA driver, or install a torch for an older CUDA.' }
    : { id: 'driver', status: 'ok', message: `${cuda?.driver ?? 'not found'}, torch wants CUDA ${torch.cuda}`, fix: '' }
  return [
    driver,
    ...unserved.map(({ name, compute }): Check => ({ id: 'gpu', status: 'fail', message: `torch ${torch.version} for CUDA ${torch.cuda} has no code for ${name} (${compute})`, fix: 'comfy-env torch VERSION --to-cuda VERSION tells which build has.' })),
  ]
}

async function homeCheck(home: string): Promise<Check> {
  const fix = 'Choose another place with COMFY_ENV_HOME.'
  try {
    await mkdir(home, { recursive: true })
    await access(home, constants.W_OK)
    const free = (await freeBytes(home)) ?? 0
    const gigabytes = `${(free / 1e9).toFixed(1)} GB free in ${home}`
    return { id: 'disk', status: free > 2e9 ? 'ok' : 'warn', message: gigabytes, fix: free > 2e9 ? '' : fix }
  } catch {
    return { id: 'disk', status: 'fail', message: `${home} cannot be written`, fix }
  }
}

/** Whether the sandbox that the user wants can be made. Nothing to say where none is wanted. */
async function sandboxChecks({ settings }: Engine): Promise<Check[]> {
  const { packs, network } = settings.sandbox
  if (packs.length === 0) return []
  const bwrap = findBwrap()
  if (bwrap === null) return [{ id: 'sandbox', status: 'fail', message: 'bubblewrap (bwrap) is not installed, so nothing that is to be sandboxed runs', fix: CATALOGUE.SANDBOX_UNAVAILABLE.hint }]
  const { code, stderr } = await run(bwrap, ['--ro-bind', '/', '/', '--unshare-all', 'true'], 5000)
  const who = packs.includes('*') ? 'every isolated pack' : packs.join(', ')
  if (code === 0) return [{ id: 'sandbox', status: 'ok', message: `${who}, ${network ? 'with' : 'without'} network, while isolated`, fix: '' }]
  return [{ id: 'sandbox', status: 'fail', message: `bubblewrap cannot make a sandbox here: ${stderr.trim().split('\n').at(-1) ?? ''}`, fix: 'Allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or an AppArmor profile for bwrap), or take the packs out of [sandbox].' }]
}

/** Whether everything is as it should be. The command line, the panel and the report run the same checks. */
export async function runChecks(engine: Engine): Promise<Check[]> {
  const { fingerprint, uv } = engine
  const version = await uv.version().catch(() => null)
  return [
    { id: 'python', status: 'ok', message: `${fingerprint.python.version} (${fingerprint.python.executable})`, fix: '' },
    fingerprint.torch
      ? { id: 'torch', status: 'ok', message: `${fingerprint.torch.version}, CUDA ${fingerprint.torch.cuda ?? 'none'}`, fix: '' }
      : { id: 'torch', status: 'warn', message: 'this Python has no torch', fix: 'Name ComfyUI’s Python with --interpreter.' },
    version === null
      ? { id: 'uv', status: 'fail', message: 'uv was not found', fix: 'python -m pip install uv' }
      : { id: 'uv', status: 'ok', message: version, fix: '' },
    ...gpuChecks(engine),
    await homeCheck(engine.settings.home),
    ...(await sandboxChecks(engine)),
    ...(await envChecks(engine)),
  ]
}
