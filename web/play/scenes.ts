import type { PackState } from '../../schemas/pack'
import type { View } from '../stores/uiStore'
import type { PackFilter } from '../state/packList'
import { COLOUR_LOG, HOSTILE_LOG, INSTALL_LOG, longLog } from './logs'
import type { Answers, Script } from './scriptedBridge'
import { env, failure, host, job, NOW, pack, plan, requirement, running, snapshot, worker } from './things'

export interface Scene extends Script {
  /** `log`: the panel at the bottom. */
  view: View | 'log'
  /** What is clicked once it is there, by the button's or switch's accessible name. */
  clicks?: string[]
  search?: string
  filter?: PackFilter
  selected?: string[]
  open?: boolean
}

const nvdiffrast = requirement('nvdiffrast==0.4.0', 'none', 'none of 12 wheels fits this machine', {
  nearest: [{ change: { torch: '2.7' }, filename: 'nvdiffrast-0.4.0+cu128torch2.7-cp312-cp312-linux_x86_64.whl', cost: 10 }],
  rejected: [
    { filename: 'nvdiffrast-0.4.0+cu128torch2.8-cp312-cp312-win_amd64.whl', url: 'https://a/1', reasons: ['TAG_PLATFORM'] },
    { filename: 'nvdiffrast-0.4.0+cu126torch2.7-cp311-cp311-linux_x86_64.whl', url: 'https://a/2', reasons: ['TAG_PYTHON', 'TORCH_MINOR', 'CUDA_MINOR'] },
  ],
})

/** One pack in each of the nine states. */
export const NINE = [
  pack('ComfyUI-Impact-Pack', 'ready', 'ComfyUI has everything it needs.', { classes: 186, live_classes: ['DetailerForEach', 'SEGSDetailer'] }),
  pack('ComfyUI-KJNodes', 'update', 'Its environment lacks color-matcher.', { env: 'comfyui-kjnodes', isolation: { state: 'on' }, loaded: 'worker', class_isolation: { ImageBatchMulti: false } }),
  pack('comfyui_layerstyle', 'missing', 'Not installed: opencv-contrib-python, blend-modes.', { loaded: 'failed', import_error: 'Traceback (most recent call last):\n  File "__init__.py", line 3\nModuleNotFoundError: No module named cv2' }),
  pack('ComfyUI-3D-Pack', 'no_wheel', 'nvdiffrast==0.4.0: none of 12 wheels fits this machine.', { requirements: [nvdiffrast, requirement('numpy<2', 'conflict', 'ComfyUI has numpy 2.1.3'), requirement('trimesh', 'satisfied', '4.4.0 in ComfyUI')] }),
  pack('vintage-tone', 'conflict', 'numpy<2 clashes: ComfyUI has numpy 2.1.3.', { requirements: [requirement('numpy<2', 'conflict', 'ComfyUI has numpy 2.1.3')] }),
  pack('comfyui-mixlab-nodes', 'installing', 'Its environment is being built.'),
  pack('ComfyUI-nunchaku', 'failed', 'The download of nunchaku-1.0.0 was cut off.', { isolation: { state: 'failed', reason: 'Its worker ended with exit code 1.' } }),
  pack('trouble-maker', 'broken', 'ComfyUI cannot import it: ImportError: libGL.so.1', { loaded: 'failed', import_error: 'ImportError: libGL.so.1' }),
  pack('was-node-suite', 'unknown', 'Being checked.', { isolation: { state: 'starting' } }),
]
const NINE_JOB = job('aaaaa1', 'comfyui-mixlab-nodes', running('downloading', 340e6, 1.2e9, 'bytes'))
const KJ = env('comfyui-kjnodes', { pack: 'ComfyUI-KJNodes', can_undo: true, generation: 3 })
const full = (): Script['snapshot'] => snapshot({ packs: NINE, jobs: [NINE_JOB], envs: [KJ] })

const STATES: PackState[] = ['ready', 'ready', 'ready', 'update', 'missing', 'no_wheel', 'conflict', 'broken']
export const manyPacks = (count: number) =>
  Array.from({ length: count }, (_, index) => {
    const state = STATES[index % STATES.length] ?? 'ready'
    return pack(`ComfyUI-pack-${index + 1}`, state, state === 'ready' ? 'ComfyUI has everything it needs.' : `package-${index % 40}<2 clashes: ComfyUI has package-${index % 40} 2.1.`, { isolation: { state: index % 11 === 0 ? 'on' : 'off' } })
  })

const ENVS = [
  KJ,
  env('three-wheels', { kind: 'sealed', combination: { python: '3.12', torch: '2.7.1', cuda: '12.6' }, python: '3.12', torch: '2.7.1+cu126', bytes: 6.2e9, unique_bytes: 5.1e9 }),
  env('trouble-maker', { state: 'broken', reason: 'numpy/core/_multiarray.so differs from what was installed (3 in all)' }),
]
const CHANGES = [
  { id: 'c2', pack: 'vintage-tone', state: 'done' as const, created: NOW - 3_600_000, added: ['blend-modes'], changed: [{ name: 'pillow', version: '10.4.0' }], restorable: true },
  { id: 'c1', pack: 'modern-grain', state: 'restored' as const, created: NOW - 7_200_000, added: ['tinyops'], changed: [], restorable: false },
]
const crash = { code: null, signal: 'SIGSEGV', lines: ['Fatal Python error: Segmentation fault', '', 'Current thread 0x00007f (most recent call first):', '  File "nodes.py", line 41 in run'] }
const WORKERS = [
  worker('modern-grain', { status: 'busy', node: 'ModernGrain (node 12)' }, { usage: { cpu_percent: 187, memory_bytes: 3.4e9, vram_bytes: 8.2e9 } }),
  worker('vintage-tone', { status: 'ready' }, { health: 'silent', sandboxed: true }),
  worker('one-more', { status: 'busy', node: 'Wait (node 3)' }, { health: 'stuck', usage: { cpu_percent: 0, memory_bytes: 1e9, vram_bytes: null } }),
  worker('comfyui-kjnodes', { status: 'starting' }, { usage: null, last_call: null, calls: 0 }),
  worker('three-wheels', { status: 'stopped' }),
  worker('mixlab', { status: 'stopping' }),
  worker('trouble-maker', { status: 'crashed', exit: crash, retry_at: null }, { restarts: 3, last_call: { node: 'Crash (node 4)', ended: NOW, seconds: 1.2, failed: true } }),
  worker('was-suite', { status: 'crashed', exit: { ...crash, signal: 'SIGKILL', lines: [] }, retry_at: NOW + 4000 }, { restarts: 1 }),
]
const JOBS = [
  job('done01', 'vintage-tone', { status: 'done' }),
  job('cancel', 'modern-grain', { status: 'cancelled' }),
  job('failed', 'ComfyUI-3D-Pack', failure),
  job('inplce', 'comfyui_layerstyle', { status: 'done' }, { in_place: true }),
  job('repair', 'trouble-maker', running('installing', 7, 23, 'packages'), { action: 'repair' }),
  NINE_JOB,
  job('wait01', 'ComfyUI-nunchaku', running('queued'), { position: 1 }),
  job('wait02', 'was-node-suite', running('queued'), { position: 2 }),
]
const LIVE = {
  known: true,
  inside: true,
  notes: ['What its import has changed in ComfyUI stays until ComfyUI is restarted.'],
  nodes: [
    { name: 'DetailerForEach', display_name: 'Detailer (SEGS)', live_inputs: ['CLIP', 'MODEL', 'VAE'] },
    { name: 'ImageBatchMulti', display_name: 'Image Batch Multi', live_inputs: [] },
  ],
}
const REPORT = [
  { text: '# comfyui-envmanager report\n\n## Machine\nPython 3.12.11, torch 2.8.0, RTX 4090\nhome ', hidden: null },
  { text: '~', hidden: 'user' as const },
  { text: '/ComfyUI/user/__envmanager on ', hidden: null },
  { text: '***', hidden: 'host' as const },
  { text: '\n\n## Log of job-failed, its last lines\nHF_TOKEN=', hidden: null },
  { text: '***', hidden: 'secret' as const },
  { text: '\nImportError: libcudart.so.12\n', hidden: null },
]
const CHECKS = [
  { id: 'python', status: 'ok' as const, message: '3.12.11 (/home/ada/ComfyUI/.venv/bin/python)', fix: '' },
  { id: 'disk', status: 'warn' as const, message: '1.2 GB free in /home/ada/ComfyUI/user/__envmanager', fix: 'Choose another place with COMFY_ENV_HOME.' },
  { id: 'env:trouble-maker', status: 'fail' as const, message: 'numpy/core/_multiarray.so differs', fix: 'comfy-env repair trouble-maker' },
]
const previews = (changed: Parameters<typeof plan>[1] = {}): Answers => ({ 'install.preview': ({ pack: id }) => plan(id, changed), 'pack.nodes': () => LIVE })
const installs = (changed: Parameters<typeof plan>[1] = {}, more: Partial<Scene> = {}): Scene => ({ view: 'packs', snapshot: full(), answers: previews(changed), filter: 'conflict', clicks: ['Install'], ...more })
const failedLog = { view: 'log' as const, snapshot: snapshot({ jobs: [job('failed', 'ComfyUI-3D-Pack', failure)] }), logs: { 'job-failed': INSTALL_LOG } }
const workerLog = { view: 'log' as const, snapshot: snapshot({ workers: [worker('modern-grain', { status: 'ready' })] }) }
const bad = { status: 'failed' as const, message: 'COMFY_ENV_NODE names /nowhere/node, which is no Node.js 22 or newer.', hint: 'python -m pip install -r requirements.txt, then restart ComfyUI.' }

/** Every state of every view. */
export const SCENES: Record<string, Scene> = {
  'packs: nine states': { view: 'packs', snapshot: full() },
  'packs: first run': { view: 'packs', snapshot: snapshot({ packs: NINE.filter(({ state }) => state !== 'installing') }) },
  'packs: details': { view: 'packs', snapshot: full(), filter: 'no_wheel', open: true, answers: previews() },
  'packs: node classes': { view: 'packs', snapshot: full(), filter: 'update', open: true, answers: previews() },
  'packs: offers': {
    view: 'packs',
    snapshot: full(),
    filter: 'no_wheel',
    clicks: ['Find what fits'],
    answers: { 'install.find': () => ({ offers: [{ combination: { python: '3.12', torch: '2.7.1', cuda: '12.8' }, cost: 10, wheels: [{ requirement: 'nvdiffrast', filename: 'nvdiffrast-0.4.0+cu128torch2.7-cp312-cp312-linux_x86_64.whl', version: '0.4.0', url: 'https://a/1' }] }] }) },
  },
  'packs: no offers': { view: 'packs', snapshot: full(), filter: 'no_wheel', clicks: ['Find what fits'], answers: { 'install.find': () => ({ offers: [] }) } },
  'packs: selected': { view: 'packs', snapshot: full(), filter: 'installable', selected: ['vintage-tone', 'comfyui_layerstyle'] },
  'packs: gone and renamed': {
    view: 'packs',
    snapshot: snapshot({
      packs: [
        pack('ComfyUI-KJNodes', 'gone', 'Its folder /home/kim/ComfyUI/custom_nodes/ComfyUI-KJNodes is not there: it was removed, renamed or disabled. What was chosen for it is kept until you forget it.', { isolation: { state: 'on' } }),
        pack('comfyui-kjnodes', 'missing', '2 packages are missing: color-matcher, mss.', { was: 'ComfyUI-KJNodes' }),
      ],
    }),
  },
  'packs: none': { view: 'packs', snapshot: snapshot() },
  'packs: no match': { view: 'packs', snapshot: full(), search: 'no such pack' },
  'packs: five hundred': { view: 'packs', snapshot: snapshot({ packs: manyPacks(500) }) },
  'packs: strange names': { view: 'packs', snapshot: snapshot({ packs: ["a'&b", `${'very-long-name-'.repeat(8)}x`, 'fuß+(2)', '@scope,pack!'].map((id) => pack(id, 'ready', '<b>text</b> \u202Ereversed')) }) },
  connecting: { view: 'packs', snapshot: snapshot(), notice: 'connecting' },
  starting: { view: 'packs', snapshot: snapshot(), notice: { status: 'starting', message: 'The bridge is starting.', hint: '' } },
  'no bridge': { view: 'packs', snapshot: snapshot(), notice: bad },
  'connection lost': { view: 'packs', snapshot: full(), notice: 'lost' },
  'read only': { view: 'packs', snapshot: snapshot({ host: host({ writable: false }), packs: NINE }) },
  offline: { view: 'packs', snapshot: snapshot({ host: host({ settings: { ...host().settings, offline: true } }), packs: NINE }) },
  'restart needed': { view: 'packs', snapshot: snapshot({ host: host({ restart_needed: 'ComfyUI’s own environment was changed for vintage-tone.' }), packs: NINE }) },
  problems: { view: 'packs', snapshot: snapshot({ host: host({ uv: null, problems: ['uv was not found, so nothing can be installed. Install it into ComfyUI’s Python: python -m pip install uv'] }), packs: NINE }) },
  'install: planning': installs({}, { answers: { 'install.preview': () => 'never' } }),
  'install: preview': installs(),
  'install: sealed': installs({ kind: 'sealed', combination: { python: '3.12', torch: '2.7.1', cuda: '12.8' }, download_bytes: 3.2e9 }),
  'install: into ComfyUI': installs({ kind: 'host' }, { answers: { 'install.preview': ({ pack: id, in_place }) => plan(id, { kind: in_place ? 'host' : 'overlay' }) } }),
  'install: torch changes': installs({ kind: 'host', torch_changes: true, change: [{ name: 'torch', from: '2.8.0+cu128', to: '2.9.1+cu130' }] }),
  'install: too little space': installs({ download_bytes: 9e9 }, { snapshot: snapshot({ host: host({ free_bytes: 2e9 }), packs: NINE }) }),
  'install: several': { view: 'packs', snapshot: full(), filter: 'installable', selected: ['vintage-tone', 'comfyui_layerstyle'], clicks: ['Install 2'], answers: previews() },
  'isolate: live objects': { view: 'packs', snapshot: full(), filter: 'ready', clicks: ['Run ComfyUI-Impact-Pack isolated'], answers: previews() },
  'isolate: unknown': { view: 'packs', snapshot: full(), filter: 'broken', clicks: ['Run trouble-maker isolated'], answers: { 'pack.nodes': () => ({ known: false, inside: false, nodes: [], notes: [] }) } },
  'environments: none': { view: 'envs', snapshot: snapshot() },
  environments: { view: 'envs', snapshot: snapshot({ packs: NINE, envs: ENVS }), answers: { 'host.changes': () => ({ changes: CHANGES }), 'space.look': () => ({ items: [{ what: 'the earlier state of comfyui-kjnodes (undo would be gone)', bytes: 31e6 }, { what: 'downloaded wheels that a repair without network would use', bytes: 2.4e9 }] }) }, clicks: ['What can be freed?'] },
  'environments: delete': { view: 'envs', snapshot: snapshot({ envs: [env('three-wheels', { unique_bytes: 5.1e9 })] }), clicks: ['Delete'] },
  'environments: put back': { view: 'envs', snapshot: snapshot(), answers: { 'host.changes': () => ({ changes: CHANGES }) }, clicks: ['Put back'] },
  'workers: none': { view: 'workers', snapshot: snapshot() },
  workers: { view: 'workers', snapshot: snapshot({ workers: WORKERS }) },
  'activity: none': { view: 'jobs', snapshot: snapshot() },
  activity: { view: 'jobs', snapshot: snapshot({ jobs: JOBS }) },
  machine: { view: 'care', snapshot: snapshot({ packs: NINE }), answers: { 'doctor.run': () => ({ checks: CHECKS }) }, clicks: ['Check everything'] },
  'machine: fixed settings': { view: 'care', snapshot: snapshot({ host: host({ fixed: ['offline', 'keep_warm', 'idle_minutes'] }) }) },
  'machine: report': { view: 'care', snapshot: snapshot(), answers: { 'report.make': () => ({ parts: REPORT }) }, clicks: ['Make the report'] },
  'log: none': { view: 'log', snapshot: snapshot() },
  'log: empty': { view: 'log', snapshot: snapshot({ jobs: [job('empty1', 'vintage-tone', running('queued'))] }) },
  'log: failed': failedLog,
  'log: search': { ...failedLog, search: 'package-1' },
  'log: colours': { ...workerLog, logs: { 'modern-grain#1': COLOUR_LOG } },
  'log: hostile lines': { ...workerLog, logs: { 'modern-grain#1': HOSTILE_LOG } },
  'log: a hundred thousand lines': { ...workerLog, get logs() { return { 'modern-grain#1': longLog(100_000) } } },
}
