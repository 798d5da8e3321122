/** Things as the bridge would tell them, for the play page: plain, and changed where a scene wants it. */
import type { EnvInfo, InstallPlan } from '../../schemas/env'
import type { JobInfo, JobState, LogLine } from '../../schemas/job'
import type { PackInfo, PackState, RequirementStatus } from '../../schemas/pack'
import type { HostInfo, Snapshot } from '../../schemas/panelLink'
import type { WorkerInfo, WorkerState } from '../../schemas/worker'

export const NOW = new Date('2026-11-25T14:03:07').getTime()
const MINUTE = 60_000

export const host = (changed: Partial<HostInfo> = {}): HostInfo => ({
  fingerprint: {
    python: { version: '3.12.11', tag: 'cp312', abi: 'cp312', executable: '/home/ada/ComfyUI/.venv/bin/python', source: 'its own word' },
    platform: { tag: 'linux_x86_64', os: 'linux', arch: 'x86_64', glibc: '2.39' },
    torch: { version: '2.8.0', cuda: '12.8', hip: null, cxx11abi: true, source: 'site-packages/torch/version.py' },
    cuda: { version: '12.8', driver: '570.133.07', driver_max_cuda: '12.8', source: '/usr/bin/nvidia-smi' },
    gpus: [{ name: 'NVIDIA GeForce RTX 4090', compute: '8.9', memory_bytes: 24 * 1024 ** 3, uuid: 'GPU-1' }],
  },
  one_line: 'Python 3.12.11 (cp312), linux_x86_64 glibc 2.39, torch 2.8.0 CUDA 12.8, driver 570.133.07, RTX 4090 sm_89',
  comfyui: '0.3.64',
  home: '/home/ada/ComfyUI/user/__envmanager',
  uv: '0.9.18',
  writable: true,
  problems: [],
  version: '0.1.0',
  settings: { offline: false, registry: true, workers_per_pack: 1, share_workers: false, idle_minutes: 10, keep_warm: [], memory_gb: 0 },
  fixed: [],
  checked: NOW - 5 * MINUTE,
  restart_needed: null,
  free_bytes: 412e9,
  ...changed,
})

export const requirement = (text: string, status: RequirementStatus['status'], detail: string, more: Partial<RequirementStatus> = {}): RequirementStatus => ({
  text,
  kind: more.nearest || more.rejected ? 'cuda' : 'python',
  status,
  detail,
  rejected: [],
  nearest: [],
  ...more,
})

export const pack = (id: string, state: PackState, reason: string, changed: Partial<PackInfo> = {}): PackInfo => ({
  id,
  config: 'comfyui_env.toml',
  state,
  reason,
  requirements: [],
  warnings: [],
  env: null,
  isolation: { state: 'off' },
  loaded: 'host',
  import_error: null,
  classes: 12,
  live_classes: [],
  proxied: false,
  class_isolation: {},
  was: null,
  ...changed,
})

export const env = (id: string, changed: Partial<EnvInfo> = {}): EnvInfo => ({
  id,
  kind: 'overlay',
  pack: id,
  state: 'ready',
  reason: null,
  generation: 1,
  packages: ['numpy 1.26.4', 'pillow 11.3.0', 'transformers 4.44.2', 'tokenizers 0.19.1', 'safetensors 0.6.2'].map((text) => ({ name: text.split(' ')[0] ?? '', version: text.split(' ')[1] ?? '' })),
  bytes: 512e6,
  unique_bytes: 24e6,
  combination: null,
  can_undo: false,
  python: '3.12.11',
  torch: '2.8.0',
  created: NOW - 90 * MINUTE,
  ...changed,
})

export const job = (id: string, pack: string, state: JobState, changed: Partial<JobInfo> = {}): JobInfo => ({
  id: `job-${id}`,
  action: 'install',
  pack,
  env: pack.toLowerCase(),
  state,
  started: NOW - 2 * MINUTE,
  ended: state.status === 'running' ? null : NOW - MINUTE,
  lines: 40,
  position: null,
  in_place: false,
  ...changed,
})

export const running = (phase: Extract<JobState, { status: 'running' }>['phase'], done: number | null = null, total: number | null = null, unit: 'bytes' | 'packages' | null = null): JobState => ({ status: 'running', phase, done, total, unit })

export const failure: JobState = {
  status: 'failed',
  phase: 'verifying',
  line: 31,
  error: { code: 'VERIFY_FAILED', message: 'nvdiffrast was installed, but cannot be imported: libcudart.so.12: cannot open shared object file.', hint: 'Choose another combination, or report it to the wheel’s publisher.' },
}

export const worker = (id: string, state: WorkerState, changed: Partial<WorkerInfo> = {}): WorkerInfo => ({
  id: `${id}#1`,
  env: id,
  packs: [id],
  state,
  sandboxed: false,
  pid: ['stopped', 'crashed'].includes(state.status) ? null : 41_000 + id.length,
  started: NOW - 47 * MINUTE,
  restarts: 0,
  calls: 128,
  lines: 300,
  usage: ['stopped', 'crashed'].includes(state.status) ? null : { cpu_percent: 3, memory_bytes: 1.4e9, vram_bytes: 2.1e9 },
  health: 'ok',
  last_call: { node: 'ModernGrain (node 12)', ended: NOW - MINUTE, seconds: 0.42, failed: false },
  ...changed,
})

export const plan = (pack: string, changed: Partial<InstallPlan> = {}): InstallPlan => ({
  env: pack,
  kind: 'overlay',
  add: [
    { name: 'nvdiffrast', version: '0.4.0+cu128torch2.8', url: 'https://github.com/x/y/nvdiffrast.whl', bytes: 3_400_000 },
    { name: 'transformers', version: '4.44.2', url: null, bytes: 9_500_000 },
  ],
  remove: [{ name: 'einops', version: '0.7.0' }],
  change: [{ name: 'numpy', from: '2.1.3', to: '1.26.4' }],
  torch_changes: false,
  download_bytes: 12_900_000,
  combination: null,
  hosts: ['github.com'],
  warnings: [],
  ...changed,
})

export const line = (seq: number, text: string, phase = 'installing', level: LogLine['level'] = 'info'): LogLine => ({ seq, time: NOW + seq * 40, level, phase, text })

export const snapshot = (changed: Partial<Snapshot> = {}): Snapshot => ({ seq: 1, host: host(), packs: [], envs: [], jobs: [], workers: [], ...changed })
