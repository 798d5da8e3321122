/** A pack's folder is renamed or removed: what was chosen for it is neither lost nor silently another's. */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { PackInfo } from '../../schemas/pack.ts'
import { FRONTENDS, PYTHON } from '../../scripts/devPython.ts'
import { SHARED_CACHE } from '../support/cache.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { startWithFiles } from '../support/ownPacks.ts'
import { PanelClient } from '../support/panelClient.ts'
import { run } from '../support/prompts.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

let index: WheelIndex
let comfy: Comfy | undefined
let panel: PanelClient | undefined
beforeAll(async () => void (index = await startWheelIndex(PYTHON)))
afterAll(() => index.close())
afterEach(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
  comfy = panel = undefined
})

const NODES = `import os
class Where:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"at": ("INT", {"max": 99})}}
    def run(self, at): return {"ui": {"text": ["isolated" if "COMFYUI_ISOLATION_WORKER" in os.environ else "inside"]}}
class Other(Where): pass
NODE_CLASS_MAPPINGS = {"Where": Where, "WhereOther": Other}
`
const PROJECT = '[project]\nname = "comfyui-grain"\n[tool.comfy]\nPublisherId = "somebody"\n'
const grain = (files: Record<string, string> = {}) => ({ 'ComfyUI-Grain': { '__init__.py': NODES, 'pyproject.toml': PROJECT, ...files } })
const [OLD, NEW] = ['ComfyUI-Grain', 'comfyui-grain'] as const
const env = (): Record<string, string> => ({ COMFY_ENV_CACHE: SHARED_CACHE, COMFY_ENV_SOURCES: index.simple })

async function begin(files: Record<string, string>, isolated: string[]): Promise<{ comfy: Comfy; panel: PanelClient }> {
  comfy = await startWithFiles(grain(files), isolated, { env: env() })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, state }) => id === OLD && state !== 'unknown'), 'the pack')
  return { comfy, panel }
}

/** Ends ComfyUI, does something to its packs, and starts it again. */
async function again(meanwhile: (packs: string) => void = () => undefined): Promise<{ comfy: Comfy; panel: PanelClient }> {
  panel?.close()
  await comfy?.stop()
  const base = comfy?.base ?? ''
  meanwhile(join(base, 'custom_nodes'))
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], base, env: env() })
  panel = await PanelClient.connect(comfy.url)
  return { comfy, panel }
}
const rename = (packs: string): void => renameSync(join(packs, OLD), join(packs, NEW))

const one = (client: PanelClient, id: string, wanted: (pack: PackInfo | undefined) => boolean, what: string): Promise<PackInfo | undefined> =>
  client.until(({ packs }) => wanted(packs.find((pack) => pack.id === id)), what).then(({ packs }) => packs.find((pack) => pack.id === id))
const where = async (url: string, at: number, cls = 'Where'): Promise<unknown> => (await run(url, { '1': { class_type: cls, inputs: { at } } })).outputs['1']?.text?.[0]
const choices = (home: string): unknown => JSON.parse(readFileSync(join(home, 'state.json'), 'utf8'))

test('a renamed pack is recognised by its project; what was chosen goes on with it, asked once', async () => {
  let now = await begin({}, [OLD])
  expect(await where(now.comfy.url, 1)).toBe('isolated')
  await now.panel.call('isolation.set', { pack: OLD, class: 'WhereOther', on: false })
  now = await again(rename)
  expect(await one(now.panel, NEW, (pack) => pack?.was === OLD, 'the question')).toMatchObject({ isolation: { state: 'off' } })
  expect(await one(now.panel, OLD, (pack) => pack?.state === 'gone', 'the pack that is gone')).toMatchObject({ reason: expect.stringMatching(/Its folder .*ComfyUI-Grain is not there/) })
  await now.panel.call('pack.renamed', { pack: NEW, same: true })
  expect(await one(now.panel, NEW, (pack) => pack?.isolation.state === 'on', 'its isolation')).toMatchObject({ was: null, class_isolation: { WhereOther: false } })
  expect((await now.panel.snapshot()).packs.map(({ id }) => id)).toEqual([NEW])
  expect(choices(now.comfy.home)).toEqual({ schema: 1, isolated: [NEW], classes: { [NEW]: { WhereOther: false } } })
  expect([await where(now.comfy.url, 2), await where(now.comfy.url, 2, 'WhereOther')]).toEqual(['isolated', 'inside'])
  now = await again()
  expect(await where(now.comfy.url, 3)).toBe('isolated')
  await expect(now.panel.call('pack.renamed', { pack: NEW, same: true })).rejects.toThrow(/BAD_REQUEST: .* is not known by another name/)
})

test('a pack that was renamed while ComfyUI has it loaded is isolated from the next start on, and that is said', async () => {
  let now = await begin({}, [])
  expect(await where(now.comfy.url, 1)).toBe('inside')
  rename(join(now.comfy.base, 'custom_nodes'))
  await one(now.panel, NEW, (pack) => pack !== undefined && pack.state !== 'unknown', 'the renamed pack')
  await now.panel.call('isolation.set', { pack: NEW, on: true })
  expect(await one(now.panel, NEW, () => true, 'it')).toMatchObject({ isolation: { state: 'restart_needed', reason: expect.stringContaining(`still has its node classes from ${OLD}, whose folder is gone`) } })
  now = await again()
  expect(await where(now.comfy.url, 2)).toBe('isolated')
})

test('its environment is built under its new name', async () => {
  let now = await begin({ 'comfyui_env.toml': '[packages]\nno_deps = ["tinyops==0.4.0"]\n' }, [])
  await now.panel.install(OLD)
  await now.panel.call('isolation.set', { pack: OLD, on: true })
  now = await again(rename)
  await one(now.panel, NEW, (pack) => pack?.was === OLD, 'the question')
  await now.panel.call('pack.renamed', { pack: NEW, same: true })
  expect(await one(now.panel, NEW, (pack) => pack?.isolation.state === 'on' && pack.env !== null, 'its environment')).toMatchObject({ state: 'ready', was: null })
  expect(await where(now.comfy.url, 1)).toBe('isolated')
})

test('where its environment cannot be built, what was chosen is kept', async () => {
  let now = await begin({ 'comfyui_env.toml': '[packages]\nno_deps = ["tinyops==0.4.0"]\n' }, [])
  await now.panel.install(OLD)
  await now.panel.call('isolation.set', { pack: OLD, on: true })
  now = await again((packs) => {
    rename(packs)
    writeFileSync(join(packs, NEW, 'comfyui_env.toml'), '[packages]\nno_deps = ["tinyops==9.9"]\n')
  })
  await one(now.panel, NEW, (pack) => pack?.was === OLD, 'the question')
  await now.panel.call('pack.renamed', { pack: NEW, same: true })
  await now.panel.until(({ jobs }) => jobs.some(({ pack, state }) => pack === NEW && state.status === 'failed'), 'the failed job')
  expect(choices(now.comfy.home)).toMatchObject({ isolated: [NEW] })
  expect((await now.panel.snapshot()).envs.map(({ pack }) => pack)).toEqual([OLD])
})

test('one that is another pack is not asked about again; what is gone can be forgotten, and comes back as it was if it is not', async () => {
  let now = await begin({}, [OLD])
  now = await again(rename)
  await one(now.panel, NEW, (pack) => pack?.was === OLD, 'the question')
  await now.panel.call('pack.renamed', { pack: NEW, same: false })
  await one(now.panel, NEW, (pack) => pack?.was === null, 'no question')
  now = await again()
  await one(now.panel, OLD, (pack) => pack?.state === 'gone', 'the pack that is gone')
  expect(await one(now.panel, NEW, (pack) => pack !== undefined && pack.state !== 'unknown', 'the other one')).toMatchObject({ was: null, isolation: { state: 'off' } })

  now = await again((packs) => renameSync(join(packs, NEW), join(packs, OLD)))
  await one(now.panel, OLD, (pack) => pack?.isolation.state === 'on', 'it again')
  expect(await where(now.comfy.url, 2)).toBe('isolated')
  await expect(now.panel.call('pack.forget', { pack: OLD })).rejects.toThrow(/BAD_REQUEST: ComfyUI-Grain is not gone/)

  rmSync(join(now.comfy.base, 'custom_nodes', OLD), { recursive: true })
  await now.panel.call('packs.rescan', {})
  await one(now.panel, OLD, (pack) => pack?.state === 'gone', 'the pack that is gone')
  await now.panel.call('pack.forget', { pack: OLD })
  expect([(await now.panel.snapshot()).packs, choices(now.comfy.home)]).toEqual([[], { schema: 1, isolated: [], classes: {} }])
  expect(existsSync(join(now.comfy.base, 'custom_nodes', OLD))).toBe(false)
})
