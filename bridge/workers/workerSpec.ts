import type { LoadedPack } from '../../schemas/pack'
import type { HostFolders } from '../../schemas/shimLink'
import type { WorkerInfo } from '../../schemas/worker'
import type { workerToBridge } from '../../schemas/workerLink'
import type { Handlers } from '../rpc/peer'
import type { Sandbox } from './sandbox'

export interface WorkerSpec {
  id: string
  env: string | null
  /** Of that environment; null: it runs on ComfyUI's own. */
  generation: number | null
  /** Before each start. Throws ENV_BROKEN where what that environment was made from is gone. */
  check: () => Promise<void>
  /** Lets go of that generation, once: nothing of the worker runs any more. */
  leave: () => void
  python: string
  /** Folder of `python_shim`. */
  shim: string
  packs: { id: string; dir: string }[]
  /** Environment variables that its packs ask for. */
  variables: Record<string, string>
  /** Bytes of memory that it may take; null: as much as there is. */
  memoryBytes: number | null
  /** What it runs in; null: it has the user's rights. */
  sandbox: Sandbox | null
  /** Folder of shared memory with names; null: it is anonymous. */
  segments: string | null
  /** Where the shim writes what ComfyUI's node classes say of themselves. */
  classes: string
  /** Where a process of it, by its owner's name, serves its packs' HTTP routes; null: on a port of its own choice. */
  socket: (owner: string) => string | null
  /** Where a process of it, by its owner's name, takes calls from ComfyUI itself; null: nowhere. */
  straight: ((owner: string) => string | null) | null
}

export interface WorkerEvents {
  onChange: (info: WorkerInfo) => void
  onLoaded: (loaded: LoadedPack) => void
  /** `owner`: how its process was named in what it shared. */
  onGone: (owner: string, packs: string[]) => void
  onReleased: (leases: string[]) => void
  /** ComfyUI's folders as they are now; null: there is no ComfyUI. */
  folders: () => HostFolders | null
  /** What the worker tells on its own: progress, events for the browser, released leases. */
  notes: Omit<Handlers<typeof workerToBridge>, 'handles.kept'>
}
