/** What ComfyUI-Manager does to the folders of node packs while ComfyUI runs: seen without a restart, and environments stay until they are freed. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { PYTHON, ROOT } from '../../scripts/devPython.ts'
import type { PackInfo } from '../../schemas/pack.ts'
import { SHARED_CACHE } from '../support/cache.ts'
import type { Comfy, ComfyOptions } from '../support/comfy.ts'
import { git, NODES, PACK } from '../support/managedPack.ts'
import { hostPython } from '../support/hostPython.ts'
import { UV } from '../support/ownHost.ts'
import { startWithFiles } from '../support/ownPacks.ts'
import { PanelClient } from '../support/panelClient.ts'
import { until } from '../support/processes.ts'
import { run } from '../support/prompts.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

const FILES = { '__init__.py': NODES, 'requirements.txt': 'plainly==1.0\n' }

let index: WheelIndex
let work: string
let comfy: Comfy
let panel: PanelClient
/** Equal inputs would give a result that ComfyUI has kept. */
let turn = 0

const folder = (...path: string[]): string => join(comfy.base, 'custom_nodes', ...path)
const pack = (wanted: (found: PackInfo) => boolean, what: string) => panel.until(({ packs }) => packs.some((one) => one.id === PACK && wanted(one)), what)
const gone = (what: string) => panel.until(({ packs }) => packs.every(({ id, state }) => id !== PACK || state === 'gone'), what)

/** What a run of the pack's node shows, or the sentence that it fails with. */
async function said(): Promise<unknown> {
  const { outputs, error } = await run(comfy.url, { '1': { class_type: 'Managed', inputs: { turn: ++turn } } })
  return outputs['1']?.text?.[0] ?? error.exception_message
}

async function start(packs: Record<string, Record<string, string>>, isolated: string[] = [], more: Partial<ComfyOptions> = {}): Promise<void> {
  comfy = await startWithFiles(packs, isolated, { env: { COMFY_ENV_SOURCES: index.simple, COMFY_ENV_INDEX: index.simple, COMFY_ENV_CACHE: SHARED_CACHE, COMFY_ENV_UV: UV }, ...more })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ host }) => host.comfyui !== null && host.checked !== null, 'the first look at the packs')
}

/** A repository of the pack. Its requirements come last out of a clone, and only when `letGo` is called. */
function repository(): string {
  const path = join(work, `origin-${Date.now()}`)
  mkdirSync(path)
  for (const [name, text] of Object.entries({ ...FILES, '.gitattributes': 'requirements.txt filter=held\n' })) writeFileSync(join(path, name), text)
  git(path, 'init', '-q')
  git(path, 'add', '.')
  git(path, 'commit', '-qm', 'one')
  return path
}

const gate = (): string => join(work, 'gate')

/** Begins a clone as ComfyUI-Manager does, into the pack's own folder. It stands still when all files but one are there. */
async function beginClone(origin: string): Promise<{ git: ChildProcess; letGo: () => Promise<void> }> {
  rmSync(gate(), { force: true })
  const filter = `sh -c 'while [ ! -e ${gate()} ]; do sleep 0.02; done; cat'`
  const cloning = spawn('git', ['-c', `filter.held.smudge=${filter}`, 'clone', '-q', origin, folder(PACK)], { stdio: 'ignore' })
  const ended = new Promise<void>((done) => cloning.once('exit', () => done()))
  await until('the clone to have most files', () => existsSync(folder(PACK, '__init__.py')))
  return { git: cloning, letGo: async () => (writeFileSync(gate(), ''), ended) }
}

beforeAll(async () => {
  index = await startWheelIndex(PYTHON, ['1.0', '2.0'].map((version) => ({ name: 'plainly', version, code: `VERSION = "${version}"\n` })))
})
afterAll(() => index.close())
beforeEach(() => void (work = mkdtempSync(join(tmpdir(), 'envmanager-origin-'))))
afterEach(async () => {
  writeFileSync(gate(), '') // a filter that still waits ends
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
  rmSync(work, { recursive: true, force: true })
})

test('a pack that is cloned, updated, disabled, enabled and removed while ComfyUI runs is seen, and its environment follows', async () => {
  await start({})
  const origin = repository()
  const clone = await beginClone(origin)
  await pack(({ state, reason }) => state === 'unknown' && /has not ended/.test(reason), 'the half of a clone')
  await expect(panel.call('isolation.set', { pack: PACK, on: true })).rejects.toThrow('PACK_INCOMPLETE')
  await clone.letGo()
  await pack(({ state, reason }) => state === 'missing' && reason.includes('plainly'), 'the whole clone')

  await panel.install(PACK)
  await panel.call('isolation.set', { pack: PACK, on: true })
  expect(await said()).toBe('1.0 isolated') // no restart

  writeFileSync(join(origin, 'requirements.txt'), 'plainly==2.0\n')
  git(origin, 'commit', '-qam', 'two')
  git(folder(PACK), 'pull', '-q')
  await pack(({ state }) => state === 'update', 'the update in place')
  await panel.install(PACK)
  expect(await said()).toBe('2.0 isolated')

  for (const [disabled, where] of [[join('.disabled', `${PACK}@nightly`), 'the folder of disabled packs'], [`${PACK}.disabled`, 'the old name of disabled packs']] as const) {
    mkdirSync(folder('.disabled'), { recursive: true })
    renameSync(folder(PACK), folder(disabled))
    const without = await gone(`nothing of what moved to ${where}`)
    expect(without.envs.map(({ pack: owner, state }) => [owner, state])).toEqual([[PACK, 'ready']])
    renameSync(folder(disabled), folder(PACK))
    await pack(({ state, env, isolation }) => state === 'ready' && env !== null && isolation.state === 'on', `the pack with its environment, back from ${where}`)
    expect(await said()).toBe('2.0 isolated')
  }

  rmSync(folder(PACK), { recursive: true })
  const [env] = (await gone('the removed pack')).envs
  await panel.call('env.delete', { env: env?.id }) // nothing can switch its isolation off
  expect((await panel.snapshot()).envs).toEqual([])
})

test('what happens while no panel is open is seen, and an isolated pack that was disabled when ComfyUI started has its nodes once it is enabled', async () => {
  await start({ [join('.disabled', PACK)]: { ...FILES, 'requirements.txt': '' } }, [PACK])
  await gone('nothing that is disabled')
  panel.close()
  renameSync(folder('.disabled', PACK), folder(PACK))
  const classes = async (): Promise<unknown> => (await fetch(`${comfy.url}/api/object_info`)).json()
  await expect.poll(classes, { timeout: 60_000 }).toMatchObject({ Managed: {} })
  panel = await PanelClient.connect(comfy.url)
  await pack(({ isolation, loaded, proxied }) => isolation.state === 'on' && loaded === 'worker' && proxied, 'the isolated pack')
})

test('an isolated pack that comes back before its environment is there says so, and has its nodes after the install', async () => {
  await start({ [join('.disabled', PACK)]: FILES }, [PACK])
  renameSync(folder('.disabled', PACK), folder(PACK))
  await pack(({ state, isolation }) => state === 'missing' && isolation.state === 'failed' && isolation.reason.includes('no environment'), 'why it does not run')
  await panel.install(PACK)
  await pack(({ isolation, proxied }) => isolation.state === 'on' && proxied, 'its nodes')
  expect(await said()).toBe('1.0 isolated')
})

test('a clone that was broken off stays unusable, says why, and leaves the other packs alone', async () => {
  await start({ other: { '__init__.py': 'NODE_CLASS_MAPPINGS = {}' } })
  const clone = await beginClone(repository())
  clone.git.kill('SIGKILL')
  await pack(({ state, reason, warnings }) => state === 'unknown' && /broken off/.test(reason) && warnings.some((hint) => hint.includes('delete its folder')), 'the broken clone')
  await expect(panel.call('install.preview', { pack: PACK })).rejects.toThrow('PACK_INCOMPLETE')
  await panel.call('packs.rescan', {})
  expect((await panel.snapshot()).packs.map(({ id, state }) => `${id} ${state}`).sort()).toEqual([`${PACK} unknown`, 'other ready'])
  rmSync(folder(PACK), { recursive: true })
  await gone('the deleted clone')
})

test('what ComfyUI-Manager installs into ComfyUI’s own Python is seen', async () => {
  const python = hostPython(work)
  await start({ [PACK]: FILES }, [], { python })
  await pack(({ state, reason }) => state === 'missing' && reason.includes('plainly'), 'what is missing')
  await promisify(execFile)(UV, ['pip', 'install', '--quiet', '--no-cache', '--python', python, '--default-index', index.simple, 'plainly==1.0'])
  const { packs } = await pack(({ state }) => state === 'ready', 'what was installed')
  expect(packs).toMatchObject([{ id: PACK, env: null, reason: 'ComfyUI has everything it needs.' }])
})

test('our own pack may be disabled while it runs: what runs goes on, what cannot start says why, and starts once the pack is back', async () => {
  const product = join(work, 'comfyui-envmanager')
  for (const part of ['__init__.py', 'prestartup_script.py', 'python_shim', join('bridge', 'dist', 'comfy-env.mjs'), join('bridge', 'dist', 'main.mjs'), join('web', 'dist')]) cpSync(join(ROOT, part), join(product, part), { recursive: true })
  await start({ [PACK]: { '__init__.py': NODES.replace('import plainly', 'import types; plainly = types.SimpleNamespace(VERSION="0")') } }, [PACK], { product })
  await pack(({ proxied }) => proxied, 'the isolated pack')
  expect(await said()).toBe('0 isolated')
  renameSync(product, `${product}.disabled`)
  expect(await said()).toBe('0 isolated')
  await panel.call('worker.stop', { worker: `${PACK}#1` })
  expect(await said()).toMatch(/comfyui-envmanager’s own folder is not there any more/)
  await panel.call('packs.rescan', {})
  renameSync(`${product}.disabled`, product)
  expect(await said()).toBe('0 isolated')
})

test('a look at a pack that lasts shows neither what has changed meanwhile nor a pack that has gone', async () => {
  const held: ServerResponse[] = []
  index.fail('/simple/slowly', (response) => void held.push(response))
  await start({})
  for (const name of [PACK, 'removed', 'unchanged']) {
    mkdirSync(folder(name))
    writeFileSync(folder(name, 'comfyui_env.toml'), '[packages]\nno_deps = ["slowly==1.0"]\n')
    writeFileSync(folder(name, '__init__.py'), 'NODE_CLASS_MAPPINGS = {}')
  }
  await panel.until(({ packs }) => packs.length === 3 && held.length > 0, 'the packs to wait for an answer')
  rmSync(folder(PACK, 'comfyui_env.toml'))
  rmSync(folder('removed'), { recursive: true })
  await panel.until(({ packs }) => packs.length === 2 && packs.some(({ state }) => state === 'ready'), 'the packs as they are now')
  const before = panel.events.length
  index.mend('/simple/slowly')
  for (const response of held) response.writeHead(404).end()
  await panel.until(({ packs }) => packs.every(({ reason }) => reason !== 'Being checked.'), 'the looks that had to wait')
  await panel.call('packs.rescan', {})
  const shown = panel.events.slice(before).flatMap((event) => (event.kind === 'pack' ? [`${event.pack.id} ${event.pack.state}`] : []))
  expect(shown.filter((one) => !one.startsWith('unchanged'))).toEqual([])
})
