/** The call path beside other libraries: comfy-env and pyisolate from the package index, run one after the other in this very run. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { findBwrap } from '../bridge/workers/sandbox'
import type { Case, Timing } from './case'

const ROOT = process.cwd()
const windows = process.platform === 'win32'
const binOf = (venv: string): string => join(venv, windows ? 'Scripts' : 'bin')
const PYTHON = join(binOf(join(ROOT, '.venv')), windows ? 'python.exe' : 'python')
/** What is compared with, and the torch that ours is measured on, so that all run the same one. */
const PEERS = ['comfy-env==0.4.46', 'pyisolate==0.10.2', 'torch==2.13.0', 'numpy', 'uv']
const VENV = join(ROOT, '.venv', 'bench-peers')

interface Measured {
  times: Record<string, Timing>
  floors?: Record<string, Timing>
  peak_shared_bytes: number
}

const run = (file: string, args: string[], env: NodeJS.ProcessEnv = process.env, cwd = ROOT): string =>
  execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env, cwd, maxBuffer: 1 << 26 })

/** The last line is the answer: the libraries print as they like. */
const lastLine = (text: string): Measured => JSON.parse(text.trim().split('\n').at(-1) ?? '') as Measured

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

function measurePeers(folder: string): Record<string, Measured> {
  const python = peerPython()
  if (!python) return {}
  const found: Record<string, Measured> = {}
  for (const name of ['comfy-env', 'pyisolate']) {
    const work = join(folder, name)
    mkdirSync(work)
    const env = { ...process.env, PATH: `${dirname(python)}:${process.env.PATH}`, HOME: work }
    try {
      found[name] = lastLine(run(python, [join(ROOT, 'bench', 'peers.py'), name, work], env, work))
    } catch {
      console.error(`${name} did not finish: its column stays empty.`)
    }
  }
  return found
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

function startCase(ours: Timing): Case {
  const importing = Array.from({ length: 3 }, () => {
    const start = performance.now()
    run(PYTHON, ['-c', 'import torch'])
    return performance.now() - start
  }).toSorted((a, b) => a - b)
  const floor = { p50: importing[1] ?? 0, p95: importing[2] ?? 0 }
  const met = ours.p50 <= floor.p50 * 1.1
  return { id: 'worker-start', unit: 'ms', ours, peers: {}, floor, ratio: floor.p50 / ours.p50, target: '≤ 1.1 × importing torch', met }
}

/** Every call case, with the peers' figures and the floor: one copy of the bytes into warm shared memory. */
export function callCases(): { cases: Case[]; peakSharedBytes: Record<string, number> } {
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-bench-'))
  try {
    const ours = lastLine(run(PYTHON, [join(ROOT, 'bench', 'node_calls.py'), join(folder, 'ours')]))
    const peers = measurePeers(folder)
    const cases = Object.entries(ours.times).map(([id, timing]): Case => {
      if (id === 'worker-start') return startCase(timing)
      const rule = RULES.find((known) => known.id === id)
      const theirs = Object.entries(peers).flatMap(([name, { times }]) => {
        const same = times[rule?.peers ?? id]
        return same ? [[name, same] as const] : []
      })
      const fastest = theirs.length > 0 ? Math.min(...theirs.map(([, { p50 }]) => p50)) : null
      const floor = ours.floors?.[id.replace('echo', 'image')] ?? null
      return Object.assign(judge(timing, fastest, rule), { id, unit: 'ms' as const, ours: timing, peers: Object.fromEntries(theirs), floor })
    })
    const shared = Object.entries({ ours, ...peers }).map(([name, { peak_shared_bytes }]) => [name, peak_shared_bytes])
    return { cases, peakSharedBytes: Object.fromEntries(shared) as Record<string, number> }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What bubblewrap costs: the same calls in a sandbox, and as the floor without it, one after the other. Nothing where it is not installed. */
export function sandboxCases(): Case[] {
  if (findBwrap() === null) return []
  const measure = (env: NodeJS.ProcessEnv): Record<string, Timing> => {
    const folder = mkdtempSync(join(tmpdir(), 'envmanager-bench-'))
    try {
      return lastLine(run(PYTHON, [join(ROOT, 'bench', 'node_calls.py'), join(folder, 'ours')], env)).times
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  const plain = measure(process.env)
  const sandboxed = measure({ ...process.env, COMFY_ENV_SANDBOX: '*' })
  return ['worker-start', 'call-int', 'image-3mb', 'image-50mb', 'image-400mb'].flatMap((id): Case[] => {
    const [ours, floor] = [sandboxed[id], plain[id]]
    return ours && floor ? [{ id: `sandbox-${id}`, unit: 'ms', ours, peers: {}, floor, ratio: floor.p50 / ours.p50, target: null, met: null }] : []
  })
}
