import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { PanelSettings } from '../schemas/care'
import type { BridgeError } from './errors/bridgeError'
import { cacheFolder } from './home'
import { panelPart, readSettingsFile, type SettingsFile } from './settingsFile'
import { pathOf, userFolder } from './user'

/** Facts that a user sets in place of what the probe finds: to plan for another machine. */
export interface Overrides {
  python?: string
  torch?: string
  cuda?: string
  platform?: string
  gpu?: string
  driver?: string
  cxx11abi?: string
}

export const OVERRIDE_NAMES = ['python', 'torch', 'cuda', 'platform', 'gpu', 'driver', 'cxx11abi'] as const

/** What the process was told, by options and environment. The only reader of `process.env`. */
export interface Settings {
  home: string
  comfyui: string | null
  /** ComfyUI's own folders, where it was started with others than its code's (`--base-directory`). */
  base: string | null
  /** The folder that it empties at each start, as its shim has told it; null: the one in its folders. */
  temp: string | null
  interpreter: string | null
  overrides: Overrides
  /** Wheel sources of the user, asked before a pack's own. */
  sources: string[]
  /** Hosts beyond the known publishers that a pack may name. */
  allowedHosts: string[]
  uv: string | null
  /** Where downloads and uv's cache lie; shared by environments, safe to delete. */
  cache: string
  /** Package index and extra folder of wheels for ordinary requirements; null: uv's default. */
  index: string | null
  findLinks: string | null
  /** Where torch for sealed envs comes from in place of PyTorch's own index: an index address, or `none` for the sources above. */
  torchIndex: string | null
  /** Ask the known publishers where the user's and a pack's own sources have nothing that fits. */
  registry: boolean
  offline: boolean
  proxy: string | null
  /** Address prefix → other prefix with the same files. */
  mirrors: [string, string][]
  githubToken: string | null
  workers: {
    /** Processes for one pack: nodes of one pack then run beside each other. */
    perPack: number
    /** Packs with equal environments may run in one process. */
    share: boolean
    /** A worker that nobody needs ends after so many minutes; 0: never. */
    idleMinutes: number
    /** Packs whose workers start with ComfyUI and do not end when idle. */
    keepWarm: string[]
    /** Gigabytes that a worker may take; 0: as much as there is. */
    memoryGb: number
  }
  /** ComfyUI sends calls to workers itself where it can (Linux). */
  straight: boolean
  /** Packs whose workers are sandboxed (`*`: every one), and what these may do beyond their own. */
  sandbox: { packs: string[]; network: boolean; read: string[]; write: string[] }
  /** What the user wants of sandboxes is not known, for this reason: nothing isolated may start. */
  sandboxFault: BridgeError | null
  /** Why `settings.toml` could not be read; nothing that it says is known then. */
  fault: BridgeError | null
  /** Lines of `settings.toml` that mean nothing to us. */
  unknown: string[]
  /** Port on loopback for monitoring; null: none is served. */
  metricsPort: number | null
  /** Settings of the panel that an environment variable or an option fixes. */
  fixed: string[]
  /** Folder of `python_shim`, where the worker lies. */
  pythonShim: string
}

export type Options = Partial<Record<string, string>>

const list = (text: string | undefined): string[] => (text ?? '').split(/[\s,]+/).filter(Boolean)

function shimFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url))
  // bundled: bridge/dist/main.mjs; from source: bridge/settings.ts
  return resolve(here, here.endsWith('dist') ? '../..' : '..', 'python_shim')
}

/** The settings that the panel may change, by the variables that go before them. */
const VARIABLES: Record<keyof PanelSettings, string> = {
  offline: 'COMFY_ENV_OFFLINE',
  registry: 'COMFY_ENV_REGISTRY',
  workers_per_pack: 'COMFY_ENV_WORKERS_PER_PACK',
  share_workers: 'COMFY_ENV_SHARE_WORKERS',
  idle_minutes: 'COMFY_ENV_IDLE_MINUTES',
  keep_warm: 'COMFY_ENV_KEEP_WARM',
  memory_gb: 'COMFY_ENV_WORKER_MEMORY_GB',
}

const yes = (text: string | null): boolean => text !== null && /^(1|true|yes|on)$/i.test(text)

/** `https://a/=https://b/ …`, as an environment variable can hold it. */
function mirrorPairs(text: string | undefined): [string, string][] {
  return list(text).flatMap((pair): [string, string][] => {
    const [, from, to] = /^(https?:\/\/[^=]+)=(https?:\/\/.+)$/.exec(pair) ?? []
    return from && to ? [[from, to]] : []
  })
}

function cudaOverride(env: NodeJS.ProcessEnv): string | undefined {
  const cuda = env.COMFY_ENV_CUDA_VERSION // the name of the Python library comfyui-envmanager; it takes 128 for 12.8
  return cuda && /^\d{3}$/.test(cuda) ? `${cuda.slice(0, 2)}.${cuda.slice(2)}` : cuda
}

/** What the user wants of sandboxes, by `settings.toml` and environment. */
export function sandboxPart({ sandbox }: SettingsFile, env: NodeJS.ProcessEnv = process.env): Settings['sandbox'] {
  const { packs = [], network = false, read = [], write = [] } = sandbox ?? {}
  return { packs: env.COMFY_ENV_SANDBOX ? list(env.COMFY_ENV_SANDBOX) : packs, network, read, write }
}

/**
 * Options win over the environment, and that over `settings.toml` in the home folder. Where that cannot be read, nothing goes over the network that was not
 * asked for by option or environment, and `fault` says why.
 */
export function readSettings(options: Options, env: NodeJS.ProcessEnv = process.env): Settings {
  const value = (option: string, variable: string): string | null => options[option] || env[variable] || null
  const comfyui = value('comfyui', 'COMFYUI_DIR')
  const overrides: Overrides = {}
  for (const name of OVERRIDE_NAMES) {
    const given = value(name, `COMFY_ENV_${name.toUpperCase()}`)
    if (given) overrides[name] = given
  }
  const cuda = cudaOverride(env)
  if (cuda && !overrides.cuda) overrides.cuda = cuda
  const given = value('home', 'COMFY_ENV_HOME')
  const fallback = comfyui ? join(comfyui, 'user', '__envmanager') : join(userFolder() ?? '.', '.comfyui-envmanager')
  const home = given === null ? resolve(fallback) : pathOf(given)
  const { values: file, unknown, fault, sandboxFault } = readSettingsFile(home)
  const panel = panelPart(file)
  return {
    home,
    comfyui: comfyui && resolve(comfyui),
    base: env.COMFY_ENV_BASE ? resolve(env.COMFY_ENV_BASE) : comfyui && resolve(comfyui),
    temp: env.COMFY_ENV_TEMP ? resolve(env.COMFY_ENV_TEMP) : null,
    interpreter: value('interpreter', 'COMFY_ENV_INTERPRETER'),
    overrides,
    sources: [...list(env.COMFY_ENV_SOURCES), ...(file.sources ?? [])],
    allowedHosts: [...list(env.COMFY_ENV_ALLOW_HOSTS), ...(file.allow_hosts ?? [])],
    uv: env.COMFY_ENV_UV || null,
    cache: cacheFolder(env.COMFY_ENV_CACHE ? pathOf(env.COMFY_ENV_CACHE) : null, home),
    index: env.COMFY_ENV_INDEX || file.index || null,
    findLinks: env.COMFY_ENV_FIND_LINKS || file.find_links || null,
    torchIndex: env.COMFY_ENV_TORCH_INDEX || file.torch_index || null,
    registry: env.COMFY_ENV_REGISTRY ? yes(env.COMFY_ENV_REGISTRY) : panel.registry,
    offline: env.COMFY_ENV_OFFLINE || options.offline ? yes(value('offline', 'COMFY_ENV_OFFLINE')) : panel.offline || fault !== null,
    proxy: env.COMFY_ENV_PROXY || file.proxy || null,
    mirrors: [...mirrorPairs(env.COMFY_ENV_MIRRORS), ...Object.entries(file.mirrors ?? {})],
    githubToken: env.COMFY_ENV_GITHUB_TOKEN || env.GITHUB_TOKEN || null,
    workers: {
      perPack: Number(env.COMFY_ENV_WORKERS_PER_PACK) || panel.workers_per_pack,
      share: env.COMFY_ENV_SHARE_WORKERS ? yes(env.COMFY_ENV_SHARE_WORKERS) : panel.share_workers,
      idleMinutes: env.COMFY_ENV_IDLE_MINUTES ? Number(env.COMFY_ENV_IDLE_MINUTES) : panel.idle_minutes,
      keepWarm: env.COMFY_ENV_KEEP_WARM ? list(env.COMFY_ENV_KEEP_WARM) : panel.keep_warm,
      memoryGb: Number(env.COMFY_ENV_WORKER_MEMORY_GB) || panel.memory_gb,
    },
    straight: process.platform === 'linux' && yes(env.COMFY_ENV_STRAIGHT_CALLS || '1'),
    sandbox: sandboxPart(file, env),
    sandboxFault,
    fault,
    unknown,
    metricsPort: Number(env.COMFY_ENV_METRICS_PORT) || file.metrics_port || null,
    fixed: Object.entries(VARIABLES).flatMap(([name, variable]) => (env[variable] || (name === 'offline' && options.offline) ? [name] : [])),
    pythonShim: shimFolder(),
  }
}
