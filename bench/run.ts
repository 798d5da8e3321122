/**
 * `npm run bench [-- --json]`: the product's speed, against its targets where it has some. Other libraries are not measured yet: their columns are
 * empty, and cases whose target is a ratio to a peer have none to meet.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { candidateOf } from '../bridge/resolve/candidate'
import { makeTarget } from '../bridge/resolve/target'
import { parseWheelName } from '../bridge/resolve/wheelName'
import { Http } from '../bridge/sources/http'
import { resolveAll } from '../bridge/sources/resolve'
import { sourceOf } from '../bridge/sources/source'

interface Timing {
  p50: number
  p95: number
}

interface Case {
  id: string
  unit: 'ms' | 'µs'
  ours: Timing
  peers: Record<string, Timing>
  floor: Timing | null
  ratio: number | null
  target: string | null
  met: boolean | null
}

const ROOT = process.cwd()

function timing(times: number[]): Timing {
  const ordered = times.toSorted((a, b) => a - b)
  const at = (share: number): number => ordered[Math.floor((ordered.length - 1) * share)] ?? 0
  return { p50: at(0.5), p95: at(0.95) }
}

function repeat(count: number, work: () => void): Timing {
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const start = performance.now()
    work()
    times.push(performance.now() - start)
  }
  return timing(times)
}

const names = (JSON.parse(readFileSync(join(ROOT, 'bridge/resolve/testdata/observedWheels.json'), 'utf8')) as { wheels: { address: string }[] }).wheels.map(({ address }) => address.split('/').at(-1) ?? '')

function parsing(): Case {
  const whole = repeat(30, () => names.forEach(parseWheelName))
  const each = { p50: (whole.p50 * 1000) / names.length, p95: (whole.p95 * 1000) / names.length }
  return { id: 'parse-wheel-name', unit: 'µs', ours: each, peers: {}, floor: null, ratio: null, target: '≤ 20 µs', met: each.p50 <= 20 }
}

/** A hundred requirements through the resolver as it is used, their index pages read before. */
async function resolving(): Promise<Case> {
  const fingerprint = {
    python: { version: '3.12.4', tag: 'cp312', abi: 'cp312', executable: '', source: '' },
    platform: { tag: 'win_amd64', os: 'windows' as const, arch: 'AMD64', glibc: null },
    torch: { version: '2.8.0', cuda: '12.8', hip: null, cxx11abi: true, source: '' },
    cuda: null,
    gpus: [],
  }
  const index = 'https://x.example/simple/'
  const byName = Map.groupBy(names.map((filename) => candidateOf(`https://x.example/${filename}`, index)), ({ name }) => name?.package ?? '')
  const wanted = [...byName.keys()].filter(Boolean)
  const pages = new Map([...byName].map(([name, candidates]) => [`${index}${name}/`, Promise.resolve(candidates)]))
  // offline: what is not on the pages is not asked for
  const http = new Http({ proxy: null, mirrors: [], offline: true, cache: tmpdir(), githubToken: null })
  const options = { sources: [sourceOf(index)], registry: false, http, verify: true, pages, allowedHosts: [], defaultIndex: async () => [] }
  const hundred = Array.from({ length: 100 }, (_, i) => wanted[i % wanted.length] ?? '')
  const times: number[] = []
  for (let round = 0; round < 20; round++) {
    const start = performance.now()
    await resolveAll(hundred, makeTarget(fingerprint), options)
    times.push(performance.now() - start)
  }
  const ours = timing(times)
  return { id: 'resolve-100', unit: 'ms', ours, peers: {}, floor: null, ratio: null, target: '≤ 200 ms', met: ours.p50 <= 200 }
}

const PACK = `
class BenchInt:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"value": ("INT",)}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("INT",), "run", "bench"
    def run(self, value):
        return (value + 1,)

class BenchImage:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"image": ("IMAGE",)}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "run", "bench"
    def run(self, image):
        return (image * 1,)

NODE_CLASS_MAPPINGS = {"BenchInt": BenchInt, "BenchImage": BenchImage}
`

const TARGETS: Record<string, [text: string, limitMs: number] | undefined> = { 'bridge-start': ['≤ 400 ms', 400] }

function calling(): Case[] {
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-bench-'))
  try {
    const pack = join(folder, 'comfyui', 'custom_nodes', 'bench-pack')
    mkdirSync(pack, { recursive: true })
    writeFileSync(join(pack, '__init__.py'), PACK)
    const python = join(ROOT, '.venv', process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python')
    const said = execFileSync(python, [join(ROOT, 'bench', 'node_calls.py'), join(folder, 'home'), join(folder, 'comfyui')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
    const results = JSON.parse(said) as Record<string, { ours: Timing; floor?: Timing }>
    return Object.entries(results).map(([id, { ours, floor }]) => {
      const [target, limit] = TARGETS[id] ?? []
      return { id, unit: 'ms', ours, peers: {}, floor: floor ?? null, ratio: null, target: target ?? null, met: limit === undefined ? null : ours.p50 <= limit }
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const cases = [parsing(), await resolving(), ...calling()]
const targets_met = cases.every(({ met }) => met !== false)
const machine = { cpu: cpus()[0]?.model ?? '', cores: cpus().length, memory_bytes: totalmem(), node: process.version, platform: process.platform }
if (process.argv.includes('--json')) console.log(JSON.stringify({ machine, cases, targets_met }))
else {
  const cell = (value: Timing | null, unit: string): string => (value ? `${value.p50.toFixed(2)} / ${value.p95.toFixed(2)} ${unit}` : '–')
  console.log(`${'case'.padEnd(28)}${'ours p50 / p95'.padEnd(24)}${'floor (one copy)'.padEnd(24)}target`)
  for (const { id, unit, ours, floor, target, met } of cases) {
    console.log(`${id.padEnd(28)}${cell(ours, unit).padEnd(24)}${cell(floor, unit).padEnd(24)}${target ? `${target} ${met ? 'met' : 'MISSED'}` : '–'}`)
  }
}
process.exitCode = targets_met ? 0 : 1
