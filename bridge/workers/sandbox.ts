import { existsSync, lstatSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path'
import type { HostFolders } from '../../schemas/shimLink'
import { userFolder } from '../user'

/** What a sandboxed worker may see and change, beyond the system's programs and ComfyUI's folders. Absolute paths. */
export interface Sandbox {
  bwrap: string
  network: boolean
  /** Read only: Python, its packages, our own part, what the user allows. */
  readable: string[]
  /** Its packs' folders, its sockets and shared memory, what the user allows. */
  writable: string[]
  /** Lies in a folder that may be read, and is not for packs: the home folder with the bridge's token. */
  hidden: string[]
}

/** Programs, libraries and settings of the system, without anybody's own files. */
const SYSTEM = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/etc', '/opt', '/nix', '/sys']
/** Where `/etc/resolv.conf` may point to. */
const RESOLVERS = ['/run/systemd/resolve', '/run/resolvconf', '/run/NetworkManager']
/** GPUs: NVIDIA, Intel and AMD, ROCm, and the one of Windows under WSL. */
const GPU = /^(nvidia.*|dri|kfd|dxg)$/

/** What of the environment a sandboxed worker gets: no tokens, no keys. */
const PASSED = /^(PATH|LANG|LC_\w+|TZ|HOME|CUDA_\w+|NVIDIA_\w+|NCCL_\w+|HIP_\w+|ROCR_\w+|HSA_\w+|OMP_\w+|MKL_\w+|OPENBLAS_\w+|KMP_\w+|TORCH\w*|PYTORCH_\w+|TRITON_\w+|LD_LIBRARY_PATH|COMFY_ENV_MEMORY_LIMIT|COMFY_ENV_SHARED_HEAP|PYTHONHASHSEED)$/

/** The entries of an environment that pass into a sandbox. */
export const passed = ([name]: readonly [string, unknown]): boolean => PASSED.test(name)

/** Where bubblewrap is; null: it is not installed, or this is not Linux. */
export function findBwrap(path = process.env.PATH ?? ''): string | null {
  if (process.platform !== 'linux') return null
  return path.split(delimiter).map((folder) => join(folder, 'bwrap')).find((file) => existsSync(file)) ?? null
}

/** The folders that a Python needs: the one of its `bin`, for every link on the way to the program itself. */
export function pythonFolders(python: string): string[] {
  const found: string[] = []
  for (let path = python, hops = 0; hops < 16; hops++) {
    found.push(dirname(dirname(path)))
    if (!lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) break
    path = resolve(dirname(path), readlinkSync(path))
  }
  return found.filter((folder) => folder !== '/' && !SYSTEM.includes(folder))
}

/** Folders that ComfyUI was started with: its argument parser, which packs run again in a worker, wants them to be there (`comfy/cli_args.py`). */
function foldersNamed(argv: readonly string[]): string[] {
  const paths = argv.map((argument) => argument.replace(/^--[\w-]+=/, '')).filter((path) => isAbsolute(path))
  return paths.filter((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory())
}

/**
 * A sandboxed worker works in ComfyUI's base folder, and not where ComfyUI was started, which we were too: there the folders that ComfyUI was started
 * with have their whole names. ComfyUI's argument parser ends the process where one is not.
 */
export function withWholeNames(folders: HostFolders, from = process.cwd()): HostFolders {
  const isNamed = (argument: string | undefined): boolean => /^--[\w-]+-(directory|root)$/.test(argument ?? '')
  const argv = folders.argv.map((argument, index) => {
    const [, option, path] = /^(--[\w-]+)=(.+)$/s.exec(argument) ?? []
    if (isNamed(option) && path) return `${option}=${resolve(from, path)}`
    return isNamed(folders.argv[index - 1]) ? resolve(from, argument) : argument
  })
  return { ...folders, argv }
}

/** ComfyUI's own folders: where models lie is read, results are written. */
function hostFolders(folders: HostFolders | null): { read: string[]; write: string[]; hide: string[] } {
  if (!folders) return { read: [], write: [], hide: [] }
  const models = Object.values(folders.models).flatMap(({ paths }) => paths)
  return { read: [folders.root, folders.base, ...models, ...foldersNamed(folders.argv)], write: [folders.output, folders.input, folders.temp], hide: [folders.user] }
}

const each = (option: string, paths: readonly string[]): string[] => [...new Set(paths)].toSorted().flatMap((path) => [option, path, path])

/**
 * Options of `bwrap` (1), up to the program. Later ones lie over earlier ones: what is hidden lies over what may be read, and what is the worker's
 * own over what is hidden. Ids of processes, shared memory and the network are the sandbox's own.
 */
export function bwrapArgs({ network, readable, writable, hidden }: Sandbox, folders: HostFolders | null): string[] {
  const host = hostFolders(folders)
  const devices = existsSync('/dev') ? readdirSync('/dev').filter((name) => GPU.test(name)).map((name) => join('/dev', name)) : []
  return [
    '--unshare-all', ...(network ? ['--share-net'] : []), '--die-with-parent', '--cap-drop', 'ALL',
    ...each('--ro-bind-try', SYSTEM),
    '--proc', '/proc', '--dev', '/dev', ...each('--dev-bind-try', devices),
    ...['/tmp', userFolder() ?? '/'].flatMap((path) => (path === '/' ? [] : ['--tmpfs', path])),
    ...(network ? each('--ro-bind-try', RESOLVERS) : []),
    ...each('--ro-bind-try', host.read),
    ...[...new Set([...host.hide, ...hidden])].toSorted().flatMap((path) => ['--tmpfs', path]),
    ...each('--ro-bind-try', readable),
    ...each('--bind-try', [...host.write, ...writable]),
    ...(folders ? ['--chdir', folders.base] : ['--chdir', '/']),
    '--',
  ] // prettier-ignore
}
