/** The call path beside other libraries: comfy-env and pyisolate from the package index, asked by turns in this very run. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { findBwrap } from '../bridge/workers/sandbox'
import { timing, type Case, type Timing } from './case'
import { Side } from './side'

const ROOT = process.cwd()
const windows = process.platform === 'win32'
const binOf = (venv: string): string => join(venv, windows ? 'Scripts' : 'bin')
const PYTHON = join(binOf(join(ROOT, '.venv')), windows ? 'python.exe' : 'python')
/** What is compared with, and the torch that ours is measured on, so that all run the same one. */
const PEERS = ['comfy-env==0.4.46', 'pyisolate==0.10.2', 'torch==2.13.0', 'numpy', 'uv']
const VENV = join(ROOT, '.venv', 'bench-peers')

/** How many calls of each case, of every side, in so many turns. */
const TURNS = 2
const SIZES = ['3mb', '50mb', '400mb']
const COUNTS: Record<string, number> = { 'call-int': 300, 'image-3mb': 100, 'image-50mb': 30, 'image-400mb': 20, 'chain-50mb': 20, 'fresh-50mb': 20, 'two-nodes': 1 }

const run = (file: string, args: string[], env: NodeJS.ProcessEnv = process.env, cwd = ROOT): string =>
  execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env, cwd, maxBuffer: 1 << 26 })

/** Makes the peers' environment once; null where they cannot be had (no network). */
function peerPython(): string | null {
  const python = join(binOf(VENV), windows ? 'python.exe' : 'python')
  const ready = join(VENV, 'ready')
  try {
    if (existsSync(ready)) return python
    rmSync(VENV, { recursive: true, force: true })
    run(PYTHON, ['-m', 'venv', VENV])
    run(python, ['-m', 'pip', 'install', '--quiet', ...PEERS])
    writeFileSync(ready, '')
    return python
  } catch {
    console.error('The other libraries could not be installed: their columns stay empty.')
    return null
  }
}

const startOurs = (folder: string, env = process.env): ReturnType<typeof Side.start> => Side.start(PYTHON, [join(ROOT, 'bench', 'node_calls.py'), join(folder, 'ours')], env, ROOT)

/** What starting took, in milliseconds by case. The program keeps what V8 has compiled, so the first one after a build takes longer. */
async function startOnce(folder: string, turn: number): Promise<Record<string, number>> {
  const { side, ready } = await startOurs(join(folder, `start-${turn}`))
  await side.end()
  return ready
}

/** The other libraries that can be had, started. */
async function startPeers(folder: string): Promise<Record<string, Side>> {
  const python = peerPython()
  const found: Record<string, Side> = {}
  if (python === null) return found
  for (const name of ['comfy-env', 'pyisolate']) {
    const work = join(folder, name)
    mkdirSync(work)
    const env = { ...process.env, PATH: `${dirname(python)}:${process.env.PATH}`, HOME: work }
    try {
      found[name] = (await Side.start(python, [join(ROOT, 'bench', 'peers.py'), name, work], env, work)).side
    } catch {
      console.error(`${name} did not start: its column stays empty.`)
    }
  }
  return found
}

/** Milliseconds of every call of a case, by side. One that ends has none from then on. */
async function byTurns(sides: Record<string, Side>, id: string, count: number): Promise<Record<string, number[]>> {
  const turns = count === 1 ? 1 : TURNS
  const times: Record<string, number[]> = {}
  for (let turn = 0; turn < turns; turn++) {
    for (const [name, side] of Object.entries(sides)) {
      try {
        times[name] = [...(times[name] ?? []), ...(await side.ask(id, Math.ceil(count / turns)))]
      } catch {
        if (name === 'ours') throw new Error(`the benchmark of our own calls ended in ${id}`)
        console.error(`${name} ended in ${id}: its column stays empty from there.`)
        delete sides[name]
      }
    }
  }
  return times
}

interface Rule {
  id: string
  /** Cases of the peers that count as the same; by default the one of the same name. */
  peers?: string
  /** The target of a ratio to the fastest peer, or of milliseconds. */
  times?: number
  ms?: number
  text: string
}

/** The targets of docs/speed.md. */
const RULES: Rule[] = [
  { id: 'bridge-start', ms: 400, text: '≤ 400 ms' },
  { id: 'call-int', times: 1, text: '≥ 1 × the fastest' },
  { id: 'image-3mb', times: 4, text: '≥ 4 ×' },
  { id: 'image-50mb', times: 5, text: '≥ 5 ×' },
  { id: 'image-400mb', times: 8, text: '≥ 8 ×' },
  { id: 'echo-3mb', times: 4, text: '≥ 4 ×' },
  { id: 'echo-50mb', times: 5, text: '≥ 5 ×' },
  { id: 'echo-400mb', times: 8, text: '≥ 8 ×' },
  { id: 'chain-50mb', peers: 'fresh-50mb', times: 20, text: '≥ 20 × a fresh one' },
  { id: 'two-nodes', ms: 1100, text: '≤ 1100 ms' },
]

function judge(ours: Timing, fastest: number | null, rule: Rule | undefined): Pick<Case, 'ratio' | 'target' | 'met'> {
  const ratio = fastest === null ? null : fastest / ours.p50
  if (!rule) return { ratio, target: null, met: null }
  const met = rule.ms === undefined ? (ratio === null ? null : ratio >= (rule.times ?? 0)) : ours.p50 <= rule.ms
  return { ratio, target: rule.text, met }
}

function startCase(took: number[]): Case {
  const importing = Array.from({ length: 3 }, () => {
    const start = performance.now()
    run(PYTHON, ['-c', 'import torch'])
    return performance.now() - start
  })
  const floor = timing(importing)
  const ours = timing(took)
  return { id: 'worker-start', unit: 'ms', ours, peers: {}, floor, ratio: floor.p50 / ours.p50, target: '≤ 1.1 × importing torch', met: ours.p50 <= floor.p50 * 1.1 }
}

/** The figures of one case, judged. `theirs`: those of the peers' case that counts as the same. */
function callCase(id: string, times: Record<string, Record<string, number[]>>, floor: number[] | undefined): Case {
  const rule = RULES.find((known) => known.id === id)
  const ours = timing(times[id]?.ours ?? [])
  const theirs = Object.entries(times[rule?.peers ?? id] ?? {}).filter(([name]) => name !== 'ours').map(([name, found]) => [name, timing(found)] as const)
  const fastest = theirs.length > 0 ? Math.min(...theirs.map(([, { p50 }]) => p50)) : null
  return Object.assign(judge(ours, fastest, rule), { id, unit: 'ms' as const, ours, peers: Object.fromEntries(theirs), floor: floor ? timing(floor) : null })
}

/** Every call case, with the peers' figures and the floor: one copy of the bytes into warm shared memory. */
export async function callCases(): Promise<{ cases: Case[]; peakSharedBytes: Record<string, number> }> {
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-bench-'))
  const sides: Record<string, Side> = {}
  try {
    const starts = [await startOnce(folder, 0), await startOnce(folder, 1)]
    const { side: ours, ready } = await startOurs(folder)
    starts.push(ready)
    Object.assign(sides, { ours }, await startPeers(folder))
    const ids = ['call-int', ...SIZES.flatMap((size) => [`image-${size}`, `echo-${size}`]), 'chain-50mb', 'fresh-50mb', 'two-nodes']
    const times: Record<string, Record<string, number[]>> = {}
    const floors: Record<string, number[]> = {}
    for (const id of ids) times[id] = await byTurns(sides, id, COUNTS[id.replace('echo', 'image')] ?? 1)
    for (const size of SIZES) floors[size] = await ours.ask(`floor-${size}`, 9)
    const peaks: [string, number][] = []
    for (const [name, side] of Object.entries(sides)) peaks.push([name, await side.end()])
    const started = (what: string): number[] => starts.map((took) => took[what] ?? 0)
    const bridge = callCase('bridge-start', { 'bridge-start': { ours: started('bridge-start') } }, undefined)
    const cases = ids.map((id) => callCase(id, times, floors[id.replace(/^(image|echo)-/, '')]))
    return { cases: [bridge, startCase(started('worker-start')), ...cases], peakSharedBytes: Object.fromEntries(peaks) }
  } finally {
    Object.values(sides).forEach((side) => side.kill())
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Images that are on a GPU, handed over there; as `gpu-async-*` with ComfyUI's usual allocator (cudaMallocAsync), whose memory has no name
 * for other processes. The floor is one copy on the GPU. Nothing without an NVIDIA GPU. */
export async function gpuCases(): Promise<Case[]> {
  if (!existsSync('/dev/nvidiactl')) return []
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-bench-'))
  const sides: Record<string, Side> = {}
  try {
    sides.ours = (await startOurs(join(folder, 'ipc'), { ...process.env, PYTORCH_CUDA_ALLOC_CONF: '' })).side
    sides.async = (await startOurs(join(folder, 'async'), { ...process.env, PYTORCH_CUDA_ALLOC_CONF: 'backend:cudaMallocAsync' })).side
    Object.assign(sides, await startPeers(folder))
    const cases: Case[] = []
    for (const size of SIZES) {
      const { async: others = [], ...times } = await byTurns(sides, `gpu-${size}`, COUNTS[`image-${size}`] ?? 1)
      const floor = await sides.ours.ask(`gpu-floor-${size}`, 9)
      cases.push(callCase(`gpu-${size}`, { [`gpu-${size}`]: times }, floor), callCase(`gpu-async-${size}`, { [`gpu-async-${size}`]: { ...times, ours: others } }, floor))
    }
    return cases
  } finally {
    Object.values(sides).forEach((side) => side.kill())
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What bubblewrap costs: the same calls in a sandbox, and as the floor without it, by turns. Nothing where it is not installed. */
export async function sandboxCases(): Promise<Case[]> {
  if (findBwrap() === null) return []
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-bench-'))
  const sides: Record<string, Side> = {}
  try {
    const plain = await startOurs(join(folder, 'plain'))
    const sandboxed = await startOurs(join(folder, 'sandboxed'), { ...process.env, COMFY_ENV_SANDBOX: '*' })
    Object.assign(sides, { ours: sandboxed.side, plain: plain.side })
    const cases: Case[] = []
    const add = (id: string, ours: number[], floor: number[]): unknown => cases.push({ id: `sandbox-${id}`, unit: 'ms', ours: timing(ours), peers: {}, floor: timing(floor), ratio: timing(floor).p50 / timing(ours).p50, target: null, met: null })
    add('worker-start', [sandboxed.ready['worker-start'] ?? 0], [plain.ready['worker-start'] ?? 0])
    for (const id of ['call-int', ...SIZES.map((size) => `image-${size}`)]) {
      const { ours = [], plain: floor = [] } = await byTurns(sides, id, COUNTS[id] ?? 1)
      add(id, ours, floor)
    }
    return cases
  } finally {
    Object.values(sides).forEach((side) => side.kill())
    rmSync(folder, { recursive: true, force: true })
  }
}
