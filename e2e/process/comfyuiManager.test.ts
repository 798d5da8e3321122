/**
 * A real ComfyUI with a real ComfyUI-Manager, in the folder that MANAGER_DIR names: a 3.x node pack, or the folder in which the package `comfyui_manager` of 4.x
 * lies. COMFYUI_PYTHON has what the Manager needs, and pip. Nothing is installed into that Python.
 */
import { createReadStream, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, normalize } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FRONTENDS, PYTHON } from '../../scripts/devPython.ts'
import type { PackInfo } from '../../schemas/pack.ts'
import { SHARED_CACHE } from '../support/cache.ts'
import { bridgesOf, type Comfy, startComfy } from '../support/comfy.ts'
import { git, NODES, PACK } from '../support/managedPack.ts'
import { addManager, type Manager } from '../support/manager.ts'
import { PanelClient } from '../support/panelClient.ts'
import { until } from '../support/processes.ts'
import { run } from '../support/prompts.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

const { COMFYUI_DIR, MANAGER_DIR } = process.env
const isGiven = Boolean(COMFYUI_DIR && MANAGER_DIR)

let index: WheelIndex
let base: string
let server: Server
let manager: Manager
let comfy: Comfy
let panel: PanelClient
/** Equal inputs would give a result that ComfyUI has kept. */
let turn = 0

const origin = (): string => join(base, 'origin', PACK)

/** What the repository offers from now on. */
function publish(requirements: string): void {
  const work = join(base, 'work')
  writeFileSync(join(work, '__init__.py'), NODES)
  writeFileSync(join(work, 'requirements.txt'), requirements)
  git(work, 'add', '.')
  git(work, 'commit', '-qm', requirements.trim())
  if (!existsSync(origin())) git(base, 'clone', '-q', '--bare', work, origin())
  else git(work, 'push', '-q', origin(), 'HEAD')
  git(origin(), 'update-server-info')
}

/** Git over plain HTTP: files. */
async function serve(): Promise<string> {
  server = createServer((request, response) => {
    const file = join(base, 'origin', normalize(new URL(request.url ?? '/', 'http://x').pathname))
    if (existsSync(file) && statSync(file).isFile()) createReadStream(file).pipe(response)
    else response.writeHead(404).end()
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const pack = (wanted: (found: PackInfo) => boolean, what: string) => panel.until(({ packs }) => packs.some((one) => one.id === PACK && wanted(one)), what)
const gone = (what: string) => panel.until(({ packs }) => packs.every(({ id }) => id !== PACK), what)

async function said(): Promise<unknown> {
  const { outputs, error } = await run(comfy.url, { '1': { class_type: 'Managed', inputs: { turn: ++turn } } })
  return outputs['1']?.text?.[0] ?? error.exception_message
}

beforeAll(async () => {
  if (!isGiven) return
  index = await startWheelIndex(PYTHON, ['1.0', '2.0'].map((version) => ({ name: 'plainly', version, code: `VERSION = "${version}"\n` })))
  base = mkdtempSync(join(tmpdir(), 'envmanager-manager-'))
  mkdirSync(join(base, 'work'))
  git(join(base, 'work'), 'init', '-q')
  publish('plainly==1.0\n')
  manager = addManager(MANAGER_DIR ?? '', base, { name: PACK, repository: `${await serve()}/${PACK}` })
  const pip = { PIP_CONFIG_FILE: '/dev/null', PIP_INDEX_URL: index.simple, PIP_TARGET: join(base, 'inside'), PIP_NO_CACHE_DIR: '1', PIP_UPGRADE: '1' }
  const ours = { COMFY_ENV_SOURCES: index.simple, COMFY_ENV_INDEX: index.simple, COMFY_ENV_CACHE: SHARED_CACHE }
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], base, ...manager.start, env: { ...pip, ...ours, ...manager.start.env } })
  panel = await PanelClient.connect(comfy.url)
}, 300_000)

afterAll(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
  server?.close()
  await index?.close()
  if (base) rmSync(base, { recursive: true, force: true })
})

test.skipIf(!isGiven)('ComfyUI-Manager installs, updates, disables, enables and removes a pack beside us (skipped: needs COMFYUI_DIR, COMFYUI_PYTHON and MANAGER_DIR)', async () => {
  await manager.press(comfy.url, 'install')
  await pack(({ state }) => state === 'missing', 'the installed pack')
  expect(existsSync(join(base, 'inside', 'plainly'))).toBe(true) // its pip installs for ComfyUI's own Python, whatever the pack will run in
  await panel.install(PACK)
  await panel.call('isolation.set', { pack: PACK, on: true })
  expect(await said()).toBe('1.0 isolated')

  publish('plainly==2.0\n')
  await manager.press(comfy.url, 'update')
  await pack(({ state }) => state === 'update', 'the update')
  await panel.install(PACK)
  expect(await said()).toBe('2.0 isolated')

  await manager.press(comfy.url, 'disable')
  expect((await gone('the disabled pack')).envs.map(({ state }) => state)).toEqual(['ready'])

  const [before] = bridgesOf(comfy.home, comfy.process.pid)
  panel.close()
  await manager.restart(comfy.url)
  await until('ComfyUI to serve again', () => comfy.output().split('To see the GUI go to').length === 3, 120_000)
  panel = await PanelClient.connect(comfy.url)
  await until('one bridge, another one', () => bridgesOf(comfy.home).every(({ pid }) => pid !== before?.pid) && bridgesOf(comfy.home).length === 1)
  expect((await gone('the disabled pack')).envs.map(({ state }) => state)).toEqual(['ready'])

  await manager.press(comfy.url, 'enable')
  await pack(({ state, isolation, proxied }) => state === 'ready' && isolation.state === 'on' && proxied, 'the enabled pack')
  expect(await said()).toBe('2.0 isolated')

  await manager.press(comfy.url, 'uninstall')
  const [env] = (await gone('the removed pack')).envs
  await panel.call('env.delete', { env: env?.id })
  expect((await panel.snapshot()).envs).toEqual([])
}, 300_000)
