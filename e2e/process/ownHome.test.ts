import { spawn, spawnSync } from 'node:child_process'
import { chownSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { FRONTENDS, PYTHON, ROOT } from '../../scripts/devPython.ts'
import { comfyEnv } from '../support/cli.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { errorOf, INSTALL_WHEELS, makeNeedyPack, MARK } from '../support/installs.ts'
import { PanelClient } from '../support/panelClient.ts'
import { until } from '../support/processes.ts'
import { startWheelIndex } from '../support/wheelIndex.ts'

let base: string
beforeEach(() => (base = mkdtempSync(join(tmpdir(), 'envmanager-own-'))))
afterEach(() => rmSync(base, { recursive: true, force: true }))

function put(...names: string[]): void {
  for (const name of names) {
    mkdirSync(dirname(join(base, name)), { recursive: true })
    writeFileSync(join(base, name), name)
  }
}

/** Names, modes and contents of all below a folder. */
const tree = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort().map((name) => {
    const found = lstatSync(join(folder, name))
    return `${name} ${found.mode} ${found.isFile() ? readFileSync(join(folder, name), 'utf8') : ''}`
  }) // prettier-ignore

interface Status {
  status: string
  message: string
  hint: string
}

/** The first status of ours in this ComfyUI that is not a beginning. */
function statusOf({ url }: Comfy): Promise<Status> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/api/envmanager/ws`, { origin: url })
  return new Promise<Status>((resolve, reject) => {
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed')))
    socket.on('message', (data: Buffer) => {
      const { method, params } = JSON.parse(data.toString()) as { method?: string; params: Status }
      if (method === 'shim.status' && params.status !== 'starting') resolve(params)
    })
  }).finally(() => socket.terminate())
}

/** What a ComfyUI that runs says of a home that is not taken. */
async function refusal(env: Record<string, string>): Promise<string> {
  const comfy = await startComfy({ frontend: FRONTENDS[0], packs: ['modern-grain'], base: join(base, 'comfy'), env, real: false })
  try {
    const { status, message, hint } = await statusOf(comfy)
    expect([status, hint]).toEqual(['failed', expect.stringContaining('COMFY_ENV_HOME')])
    expect(Object.keys((await (await fetch(`${comfy.url}/api/object_info`)).json()) as object)).toContain('ModernGrain')
    return message
  } finally {
    await comfy.stop()
  }
}

/** A home of ours with a link in place of its `run`. */
function linked(): void {
  put('theirs/target/other.sock', `theirs/home/${MARK}`)
  writeFileSync(join(base, 'theirs', 'home', MARK), JSON.stringify({ schema: 1, made_by: 'comfyui-envmanager', kind: 'home', name: '' }))
  symlinkSync(join(base, 'theirs', 'target'), join(base, 'theirs', 'home', 'run'))
}

test.each<[string, () => void, string, RegExp]>([
  ['a miniconda', () => put('theirs/envs/py311/thesis.npz', 'theirs/envs/.removed-x-1/y', 'theirs/pkgs/z'), 'theirs', /holds `pkgs`/],
  ['only an `envs` of conda', () => put('theirs/envs/py311/thesis.npz', 'theirs/envs/mine/gen-1/x'), 'theirs', /holds `envs`, and nothing shows/],
  ['the user’s own folder', () => put('theirs/run/other.sock', 'theirs/envs/a/x'), '~', /your own home folder/],
  ['a pack’s folder', () => put('theirs/custom_nodes/p/__init__.py'), 'theirs/custom_nodes/p/home', /node packs/],
  ['the folder that it empties', () => put('theirs/x'), 'comfy/temp/home', /ComfyUI empties it at each start/],
  ['a folder with a link in place of `run`', linked, 'theirs/home', /is a link/],
])('ComfyUI starts with %s as home, says why it is not taken, and nothing in it is touched', async (_, make, home, said) => {
  make()
  const before = tree(join(base, 'theirs'))
  const env = home === '~' ? { HOME: join(base, 'theirs'), COMFY_ENV_HOME: '~' } : { COMFY_ENV_HOME: join(base, home) }
  expect(await refusal(env)).toMatch(said)
  expect(tree(join(base, 'theirs'))).toEqual(before)
})

test('the default home is taken by the same rule', async () => {
  put('comfy/user/__envmanager/thesis.tex', 'comfy/user/__envmanager/run/x.sock')
  const folder = join(base, 'comfy', 'user', '__envmanager')
  const before = tree(folder)
  expect(await refusal({})).toMatch(/holds `thesis.tex`/)
  expect(tree(folder)).toEqual(before)
})

test.each([['envs'], ['install', '--pack'], ['cleanup', '--delete'], ['doctor'], ['undo', 'py311'], ['serve', '--parent'], ['packs'], ['info'], ['home']])('comfy-env %s refuses such a home', async (...args) => {
  put('conda/envs/py311/thesis.npz')
  const before = tree(join(base, 'conda'))
  const pack = args.includes('--pack') ? [makeNeedyPack(base, 'p', [], ['x'])] : []
  const result = await comfyEnv([...args, ...pack, '--home', join(base, 'conda'), '--json'])
  expect([result.code, errorOf(result).code]).toEqual([2, 'NOT_OURS'])
  expect(tree(join(base, 'conda'))).toEqual(before)
})

test('with umask 000 everything of ours is out of other users’ reach', async () => {
  const umask = process.umask(0)
  const comfy = await startComfy({ frontend: FRONTENDS[0], packs: ['modern-grain'], base: join(base, 'comfy'), real: false }).finally(() => process.umask(umask))
  try {
    const panel = await PanelClient.connect(comfy.url)
    panel.close()
    expect([statSync(comfy.home).mode & 0o777, statSync(join(comfy.home, 'run')).mode & 0o777]).toEqual([0o700, 0o700])
    expect(readdirSync(comfy.home)).toContain(MARK)
  } finally {
    await comfy.stop()
  }
})

test('two packs whose names are alike get two environments', async () => {
  const index = await startWheelIndex(PYTHON, INSTALL_WHEELS)
  try {
    const packs = ['Fancy Pack', 'fancy-pack-e2b8ce'].map((name) => makeNeedyPack(base, name, ['ops==1.0']))
    const env = { COMFY_ENV_SOURCES: index.simple, COMFY_ENV_INDEX: index.simple }
    const planned = await Promise.all(packs.map((pack) => comfyEnv(['install', '--pack', pack, '--home', join(base, 'home'), '--dry-run', '--json'], { env })))
    const ids = planned.map(({ json }) => (json as { plan: { env: string } }).plan.env)
    expect(ids).toEqual([expect.stringMatching(/^fancy-pack-[0-9a-f]{16}$/), expect.stringMatching(/^fancy-pack-e2b8ce-[0-9a-f]{16}$/)])
  } finally {
    await index.close()
  }
})

/** A user whom this system does not know. */
const STRANGER = 54_321

test('a user without a name and without a home folder can run it', async (context) => {
  const runs = (python: string): boolean => spawnSync(python, ['-c', ''], { uid: STRANGER, gid: STRANGER, cwd: '/' }).status === 0
  const python = process.getuid?.() === 0 && process.platform === 'linux' ? [PYTHON, '/usr/bin/python3'].find(runs) : undefined
  if (python === undefined) return context.skip('needs root on Linux, and a Python that every user may run')
  const own = join(base, 'own')
  mkdirSync(own)
  for (const path of [base, own]) chownSync(path, STRANGER, STRANGER)
  const env = { PATH: process.env.PATH ?? '', COMFY_ENV_REGISTRY: 'off' }
  const bridge = spawn(process.execPath, [join(ROOT, 'bridge', 'dist', 'comfy-env.mjs'), 'serve', '--parent', '--json', '--home', join(own, 'home'), '--interpreter', python], { env, cwd: own, uid: STRANGER, gid: STRANGER, stdio: ['pipe', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [bridge.stdout, bridge.stderr]) stream.on('data', (data: Buffer) => (said += data.toString()))
  const ended = new Promise<void>((done) => bridge.once('exit', () => done()))
  try {
    await until(`the bridge: ${said}`, () => said.includes('\n') || bridge.exitCode !== null)
    expect(said).toContain('"port"')
    const { run } = JSON.parse(said.split('\n').find((line) => line.includes('"port"')) ?? '') as { run: string }
    expect(dirname(dirname(run))).toBe(join(own, 'home'))
    const { port, token } = JSON.parse(readFileSync(join(run, 'bridge.json'), 'utf8')) as { port: number; token: string }
    const socket = new WebSocket(`ws://127.0.0.1:${port}/panel`, { headers: { authorization: `Bearer ${token}` } })
    const answer = await new Promise<{ result?: { parts: unknown[] }; error?: unknown }>((resolve, reject) => {
      socket.on('error', reject)
      socket.on('open', () => socket.send(JSON.stringify({ id: 1, method: 'report.make', params: {} })))
      socket.on('message', (data: Buffer) => {
        const message = JSON.parse(data.toString()) as { id?: number; result?: { parts: unknown[] }; error?: unknown }
        if (message.id === 1) resolve(message)
      })
    })
    socket.terminate()
    expect([answer.error, answer.result?.parts.length]).toEqual([undefined, expect.any(Number)])
  } finally {
    bridge.stdin.end()
    await ended
  }
})
