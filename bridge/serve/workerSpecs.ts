import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import { refuseUnrunnable } from '../install/hostOf'
import { readPackNeeds } from '../packs/config'
import { socketPath } from '../runFolder'
import { findBwrap, pythonFolders, type Sandbox } from '../workers/sandbox'
import type { WorkerSpec } from '../workers/workerSpec'
import { packFolder, type Context } from './context'
import type { Pool } from './sharing'

/** Environment variables of a pack's config. A broken one is the pack's state already, and keeps no worker from starting. */
async function variables({ engine }: Context, dir: string): Promise<Record<string, string>> {
  return readPackNeeds(dir, engine.fingerprint.platform.os).then(({ environment }) => environment, () => ({}))
}

/** The folder of a worker's HTTP sockets, one for each process of it: the run folder; of a sandboxed worker one of its own, the only one of these that it sees. */
async function webFolderOf({ run }: Context, worker: string, sandboxed: boolean): Promise<string> {
  if (!sandboxed) return run.path
  const own = join(run.path, createHash('sha256').update(worker).digest('hex').slice(0, 8)) // the path of a socket must be short
  await mkdir(own, { recursive: true, mode: 0o700 })
  return own
}

const classesFile = ({ run }: Context): string => join(run.path, 'classes.json')

/** Throws SANDBOX_UNAVAILABLE: what the user wants sandboxed never runs without. */
function sandboxOf(context: Context, own: { folders: string[]; packs: string[]; web: string }): Sandbox {
  const { engine, segments } = context
  const { settings } = engine
  const bwrap = findBwrap()
  if (bwrap === null || segments === null) throw new BridgeError('SANDBOX_UNAVAILABLE', 'A worker is to run in a sandbox, and bubblewrap (bwrap) is not installed.')
  return {
    bwrap,
    network: settings.sandbox.network,
    readable: [...own.folders, settings.pythonShim, segments, classesFile(context), ...settings.sandbox.read],
    writable: [...own.packs.map((dir) => realpathSync(dir)), own.web, ...settings.sandbox.write],
    hidden: [settings.home],
  }
}

/** Throws WORKER_START_FAILED where our own folder has gone since: ComfyUI-Manager disables and removes us like any other pack. */
async function refuseWithoutUs(shim: string): Promise<void> {
  await stat(shim).catch((cause: unknown) => {
    const hint = 'Restart ComfyUI. To go on with isolated packs, enable comfyui-envmanager again first.'
    throw new BridgeError('WORKER_START_FAILED', `comfyui-envmanager’s own folder is not there any more (${shim}): it was disabled, moved or removed.`, { hint, cause })
  })
}

/** Everything that starting a worker of a pool takes; `onBroken` hears that its environment cannot run. Throws why settings.toml does not say who is to be sandboxed, SANDBOX_UNAVAILABLE, or why the environment cannot be read. */
export async function specOf(context: Context, pack: string, pool: Pool, number: number, onBroken: () => void): Promise<WorkerSpec> {
  const { engine, segments } = context
  const { envs, settings, interpreter } = engine
  if (settings.sandboxFault) throw settings.sandboxFault
  const id = `${pool.id}#${number}`
  const packs = await Promise.all(pool.packs.map(async (name) => ({ id: name, dir: (await packFolder(context, name)).dir })))
  const given = await Promise.all(packs.map(({ dir }) => variables(context, dir)))
  const isSandboxed = pool.packs.some((name) => wantsSandbox(context, name))
  const web = await webFolderOf(context, id, isSandboxed)
  const { record = null, leave = () => undefined } = (await envs.use(envs.idOf(pack))) ?? {}
  const python = record ? envs.pythonOf(record) : interpreter
  const check = async (): Promise<void> => {
    await refuseWithoutUs(settings.pythonShim)
    if (record) await refuseUnrunnable(record, python, engine.hostSites).catch((error: unknown) => (onBroken(), Promise.reject(error)))
  }
  try {
    await check()
    const folders = [...pythonFolders(python), ...pythonFolders(interpreter), ...(record ? [envs.generation(record.id, record.generation)] : [])]
    return {
      id,
      env: record?.id ?? null,
      generation: record?.generation ?? null,
      check,
      leave,
      python,
      shim: settings.pythonShim,
      packs,
      variables: Object.assign({}, ...given) as Record<string, string>,
      memoryBytes: settings.workers.memoryGb > 0 ? Math.round(settings.workers.memoryGb * 2 ** 30) : null,
      sandbox: isSandboxed ? sandboxOf(context, { folders, packs: packs.map(({ dir }) => dir), web }) : null,
      segments,
      classes: classesFile(context),
      socket: (owner) => socketPath(web, `${owner}.web.sock`),
      straight: settings.straight && !isSandboxed ? (owner) => socketPath(context.run.path, `${owner}.sock`) : null,
    }
  } catch (error) {
    leave()
    throw error
  }
}

/** Whether the user wants the workers of a pack in a sandbox. */
export function wantsSandbox({ engine }: Pick<Context, 'engine'>, pack: string): boolean {
  const { packs } = engine.settings.sandbox
  return packs.includes('*') || packs.includes(pack)
}
