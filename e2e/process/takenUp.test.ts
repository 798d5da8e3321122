import { execFile, execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { JobInfo } from '../../schemas/job.ts'
import { PYTHON } from '../../scripts/devPython.ts'
import { BareBridge } from '../support/bareBridge.ts'
import { LOCAL, WAITS } from '../support/installs.ts'
import { OwnHost, UV } from '../support/ownHost.ts'
import { until } from '../support/processes.ts'
import { treeHash } from '../support/trees.ts'

const PACK = 'only-in-a'

let host: OwnHost
/** The other ComfyUI's Python. */
let other: string
let gate: string
let bridges: BareBridge[] = []

beforeAll(async () => {
  const torch = { name: 'torch', version: '2.13.0', python: 'here', tag: 'here' }
  host = await OwnHost.start([{ name: 'ops', version: '2.0', ...LOCAL }, { name: 'waits', version: '1.0', ...LOCAL, code: WAITS }, torch], ['torch==2.13.0'])
  other = join(host.folder, 'venv-of-b', 'bin', 'python')
  gate = join(host.folder, 'gate')
  execFileSync(UV, ['venv', '--quiet', '--python', PYTHON, join(host.folder, 'venv-of-b')])
  await promisify(execFile)(UV, ['pip', 'install', '--quiet', '--no-cache', '--python', other, '--default-index', host.index.simple, 'torch==2.13.0'])
  for (const name of ['a', 'b']) {
    mkdirSync(join(host.folder, name, 'custom_nodes'), { recursive: true })
    writeFileSync(join(host.folder, name, 'main.py'), '')
  }
  cpSync(host.pack(PACK, ['waits==1.0', 'ops==2.0']), join(host.folder, 'a', 'custom_nodes', PACK), { recursive: true })
})
afterAll(() => host.close())
beforeEach(() => writeFileSync(gate, ''))
afterEach(async () => {
  rmSync(gate, { force: true })
  await Promise.all(bridges.map((bridge) => bridge.end()))
  bridges = []
})

const home = (): string => join(host.folder, 'home')

async function start(comfyui: 'a' | 'b', python: string, env: Record<string, string> = {}): Promise<BareBridge> {
  const settings = { COMFY_ENV_UV: UV, COMFY_ENV_SOURCES: host.index.simple, COMFY_ENV_INDEX: host.index.simple, COMFY_ENV_CACHE: join(host.folder, 'cache'), COMFY_ENV_TORCH: '2.13.0', COMFY_ENV_CUDA: 'none' }
  const bridge = await BareBridge.start(['--home', home(), '--comfyui', join(host.folder, comfyui)], { ...settings, COMFY_ENV_INTERPRETER: python, GATE: gate, ...env })
  bridges.push(bridge)
  return bridge
}

const job = async (bridge: BareBridge): Promise<JobInfo | undefined> => (await bridge.snapshot())?.jobs.find(({ pack }) => pack === PACK)
const queued = (): unknown[] => (JSON.parse(readFileSync(join(home(), 'jobs', 'queue.json'), 'utf8')) as { jobs: unknown[] }).jobs
const noneQueued = (): Promise<unknown> => until('the queue to be empty', () => queued().length === 0)
const siteOf = (python: string): string => join(python, '..', '..', 'lib', readdirSync(join(python, '..', '..', 'lib'))[0] ?? '', 'site-packages')

/** Starts a job in A's bridge and kills that while the import of what was installed waits. */
async function killed(params: object): Promise<void> {
  const bridge = await start('a', host.python)
  await bridge.call('install.start', { pack: PACK, ...params })
  await until('the import', async () => ((await job(bridge))?.state as { phase?: string } | undefined)?.phase === 'verifying', 30_000)
  await bridge.end('SIGKILL')
  rmSync(gate)
}

const ended = (bridge: BareBridge): Promise<unknown> => until('the job’s end', async () => ![undefined, 'running'].includes((await job(bridge))?.state.status), 30_000)

/** B starts and leaves the job alone, says so, and has nothing of it. */
async function leftAlone(bridge: BareBridge): Promise<void> {
  await until('a word on it', async () => (await bridge.snapshot())?.host.problems.some((text) => text.includes(`for ${PACK} was broken off`) && text.includes(join(host.folder, 'a'))) ?? false)
  expect([await job(bridge), queued().length]).toEqual([undefined, 1])
}

test.each([
  ['another Python', 'a'],
  ['another folder', 'b'],
  ['another base directory', 'a'],
] as const)('a broken-off job in place is left alone by a ComfyUI of %s, and gone on with by its own', async (what, comfyui) => {
  await killed({ in_place: true })
  const python = what === 'another Python' ? other : host.python
  const before = treeHash(siteOf(other), true)
  const b = await start(comfyui, python, what === 'another base directory' ? { COMFY_ENV_BASE: join(host.folder, 'b') } : {})
  await leftAlone(b)
  expect([treeHash(siteOf(other), true), readdirSync(host.site).filter((name) => name.startsWith('ops'))]).toEqual([before, []])
  const a = await start('a', host.python)
  await ended(a)
  expect((await job(a))?.state).toEqual({ status: 'done' })
  await noneQueued()
  expect(readdirSync(host.site).filter((name) => name.startsWith('ops'))).not.toEqual([])
  const [snapshot] = ((await host.comfyEnv('snapshots')).json as { snapshots: { id: string }[] }).snapshots
  expect((await host.comfyEnv('restore', snapshot?.id ?? '')).code).toBe(0)
}, 90_000)

test('install and isolate, broken off: built on its own Python, and its switch is on; a switch that cannot be made is said', async () => {
  await killed({ isolate: true })
  await leftAlone(await start('b', other))
  const a = await start('a', host.python)
  await ended(a)
  await until('the switch', () => existsSync(join(home(), 'state.json')), 30_000)
  expect(JSON.parse(readFileSync(join(home(), 'state.json'), 'utf8'))).toMatchObject({ isolated: [PACK] })
  expect(JSON.parse(readFileSync(join(home(), 'envs', PACK, 'env.json'), 'utf8'))).toMatchObject({ interpreter: host.python })
  await noneQueued()
  await a.end()
  bridges.splice(bridges.indexOf(a), 1)

  rmSync(join(home(), 'state.json'))
  writeFileSync(gate, '')
  await killed({ isolate: true })
  mkdirSync(join(home(), 'state.json'))
  const again = await start('a', host.python)
  await ended(again)
  const said = expect.stringMatching(new RegExp(`^${PACK} is installed, and its isolation could not be switched on: .*state\\.json`))
  await until('a word on it', async () => (await again.snapshot())?.host.problems.some((text) => text.includes('could not be switched on')) ?? false)
  expect((await again.snapshot())?.host.problems).toContainEqual(said)
  const { lines } = (await again.call('log.read', { log: (await job(again))?.id, after: 0 })).result as { lines: { text: string }[] }
  expect(lines.at(-1)?.text).toEqual(said)
  await noneQueued()
  rmSync(join(home(), 'state.json'), { recursive: true })
}, 90_000)

test('a job that ended three bridges is given up, and that is said', async () => {
  const first = await start('a', host.python)
  await first.call('install.start', { pack: PACK })
  await until('the import', async () => ((await job(first))?.state as { phase?: string } | undefined)?.phase === 'verifying', 30_000)
  await first.end('SIGKILL')
  const [entry] = queued() as object[]
  writeFileSync(join(home(), 'jobs', 'queue.json'), JSON.stringify({ schema: 1, jobs: [{ ...entry, attempts: 3 }] }))
  const next = await start('a', host.python)
  await ended(next)
  expect((await job(next))?.state).toMatchObject({ status: 'failed', error: { message: expect.stringContaining(`The install for ${PACK} is given up`) } })
  await noneQueued()
}, 60_000)

test.each([{}, { isolate: true }])('a job that has ended does not run again where a backup puts its queue back (%j)', async (params) => {
  await killed(params)
  const backup = readFileSync(join(home(), 'jobs', 'queue.json'))
  const first = await start('a', host.python)
  await ended(first)
  await noneQueued()
  await first.end()
  bridges.splice(bridges.indexOf(first), 1)
  writeFileSync(join(home(), 'jobs', 'queue.json'), backup)
  const next = await start('a', host.python)
  await noneQueued()
  expect(await job(next)).toBeUndefined()
}, 90_000)
