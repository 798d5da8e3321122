import { mkdirSync } from 'node:fs'
import { dirname, delimiter, join } from 'node:path'
import type { HostFolders } from '../../schemas/shimLink'
import { bwrapArgs, passed } from './sandbox'
import type { WorkerSpec } from './workerSpec'

/** A program to start. */
export interface Launch {
  command: string
  args: string[]
  env: Record<string, string>
  /** Its process is bubblewrap's, and the worker lies below it. */
  sandboxed: boolean
}

/** Marks a worker's process and what that has started: it stays in the environment, where the owner's name is taken out. */
export const PROCESS_MARK = 'ENVMANAGER_PROCESS'

// PYTHONHASHSEED stays: where a user has set it, a pack's sets have the order that they have inside ComfyUI
const DROPPED = /^(PYTHON(?!HASHSEED$)\w*|VIRTUAL_ENV|CONDA_\w+|PIP_\w+|UV_\w+)$/

/**
 * The allocator settings keep glibc from giving big buffers back to the system and faulting them in again at the next call, and
 * idle OpenMP threads from spinning against ComfyUI on few cores.
 */
function environment({ python, variables, sandbox, memoryBytes, segments, classes }: WorkerSpec, owner: string, folders: HostFolders | null): Record<string, string> {
  const outer = Object.entries(process.env).filter((entry) => !sandbox || passed(entry))
  // which GPUs there are, and how torch takes their memory: set by ComfyUI after it has started us, on some versions
  const host = Object.entries(folders?.started?.environment ?? {})
  const given = [...outer, ...host, ...Object.entries(variables)].filter(([name, value]) => value !== undefined && !DROPPED.test(name))
  return {
    ...(Object.fromEntries(given) as Record<string, string>),
    PATH: `${dirname(python)}${delimiter}${process.env.PATH ?? ''}`,
    // in a sandbox bubblewrap itself watches its parent, and process ids are others
    ENVMANAGER_PARENT: sandbox ? '0' : String(process.pid),
    ENVMANAGER_OWNER: owner,
    [PROCESS_MARK]: owner,
    ENVMANAGER_CLASSES: classes,
    ...(segments && { ENVMANAGER_SEGMENTS: join(segments, owner) }),
    ...(memoryBytes && { ENVMANAGER_MEMORY: String(memoryBytes) }),
    COMFYUI_ISOLATION_WORKER: '1',
    PYTHONNOUSERSITE: '1',
    PYTHONUTF8: '1',
    PIP_REQUIRE_VIRTUALENV: '1',
    OMP_WAIT_POLICY: 'PASSIVE',
    MALLOC_MMAP_THRESHOLD_: '8589934592',
    MALLOC_TRIM_THRESHOLD_: '17179869184',
    MALLOC_TOP_PAD_: '67108864',
    // copies of this size and more are written past the caches: what is copied is read by another process
    GLIBC_TUNABLES: 'glibc.cpu.x86_non_temporal_threshold=4194304',
  }
}

/** What is not there cannot be bound, and ComfyUI makes its folders when it first writes (`temp` anew at each start). */
function makeFolders({ output, input, temp }: HostFolders): void {
  for (const folder of [output, input, temp]) {
    try {
      mkdirSync(folder, { recursive: true })
    } catch {
      // then the worker cannot write there, and neither can ComfyUI
    }
  }
}

/** How a worker is started: `owner` names the process in what it shares, `folders` are ComfyUI's as they are now. */
export function launchOf(spec: WorkerSpec, owner: string, folders: HostFolders | null): Launch {
  const { python, shim, sandbox, segments } = spec
  const worker = ['-X', 'faulthandler', join(shim, 'worker')]
  if (!sandbox) return { command: python, args: worker, env: environment(spec, owner, folders), sandboxed: false }
  // what a pack asks for is set inside only: bubblewrap itself would heed an LD_PRELOAD of it outside
  const env = environment({ ...spec, variables: {} }, owner, folders)
  const inside = Object.entries(spec.variables).filter(([name]) => !DROPPED.test(name) && !Object.hasOwn(env, name))
  if (folders) makeFolders(folders)
  const own = { ...sandbox, writable: [...sandbox.writable, ...(segments ? [join(segments, owner)] : [])] }
  return { command: sandbox.bwrap, args: [...inside.flatMap(([name, value]) => ['--setenv', name, value]), ...bwrapArgs(own, folders), python, ...worker], env, sandboxed: true }
}
