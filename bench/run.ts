/** `npm run bench [-- --json]`: the product's speed against its targets, and other libraries beside it in the same run. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { candidateOf } from '../bridge/resolve/candidate'
import { makeTarget } from '../bridge/resolve/target'
import { parseWheelName } from '../bridge/resolve/wheelName'
import { Http } from '../bridge/sources/http'
import { resolveAll } from '../bridge/sources/resolve'
import { sourceOf } from '../bridge/sources/source'
import { callCases, gpuCases, sandboxCases } from './calls'
import { timing, type Case, type Timing } from './case'
import { startCases } from './start'

const ROOT = process.cwd()

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

/** In a browser of its own process, so that it is not measured beside the calls. */
function panelCases(): Case[] {
  const text = execFileSync(process.execPath, [join(ROOT, 'bench', 'panel.ts')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  const measured = JSON.parse(text.trim().split('\n').at(-1) ?? '[]') as { id: string; unit: 'ms' | 'MB'; values: number[]; limit: number }[]
  return measured.map(({ id, unit, values, limit }) => {
    const ours = timing(values)
    return { id, unit, ours, peers: {}, floor: null, ratio: null, target: `≤ ${limit} ${unit}`, met: ours.p50 <= limit }
  })
}

/** `--only=panel`: just that part. */
const only = process.argv.find((arg) => arg.startsWith('--only='))?.slice('--only='.length)
const wanted = (part: string): boolean => only === undefined || only === part
const calls = wanted('calls') ? await callCases() : { cases: [], peakSharedBytes: {} }
const cases = [...(wanted('resolve') ? [parsing(), await resolving()] : []), ...calls.cases, ...(wanted('start') ? await startCases() : []), ...(wanted('gpu') ? await gpuCases() : []), ...(wanted('sandbox') ? await sandboxCases() : []), ...(wanted('panel') ? panelCases() : [])]
const targets_met = cases.every(({ met }) => met !== false)
const machine = {
  cpu: cpus()[0]?.model ?? '',
  cores: cpus().length,
  memory_bytes: totalmem(),
  node: process.version,
  platform: process.platform,
  peak_shared_bytes: calls.peakSharedBytes,
}
if (process.argv.includes('--json')) console.log(JSON.stringify({ machine, cases, targets_met }))
else {
  const cell = (value: Timing | null | undefined, unit = ''): string => (value ? `${value.p50.toFixed(2)} / ${value.p95.toFixed(2)} ${unit}`.trim() : '–')
  const row = (cells: string[]): string => cells.map((text, at) => text.padEnd(at === 0 ? 18 : 20)).join('')
  console.log('p50 / p95; the ratio is that of the fastest other library to ours; the floor is one copy of the bytes (or importing torch)')
  console.log(row(['case', 'ours', 'comfy-env', 'pyisolate', 'floor', 'ratio', 'target']))
  for (const { id, unit, ours, peers, floor, ratio, target, met } of cases) {
    const verdict = target ? `${target} ${met === null ? 'not measured' : met ? 'met' : 'MISSED'}` : '–'
    console.log(row([id, cell(ours, unit), cell(peers['comfy-env']), cell(peers.pyisolate), cell(floor), ratio?.toFixed(2) ?? '–', verdict]))
  }
  const peak = Object.entries(calls.peakSharedBytes).map(([name, bytes]) => `${name} ${(bytes / (1 << 20)).toFixed(0)} MiB`)
  console.log(`peak of shared memory: ${peak.join(', ')}`)
}
process.exitCode = targets_met ? 0 : 1
