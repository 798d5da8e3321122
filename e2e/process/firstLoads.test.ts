/** Isolated packs of whose classes nothing is known: ComfyUI's start does not wait for them, and prompts that need them do. */
import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { PYTHON } from '../../scripts/devPython.ts'
import type { Comfy, ComfyOptions } from '../support/comfy.ts'
import { startWithFiles } from '../support/ownPacks.ts'
import { PanelClient } from '../support/panelClient.ts'
import { until } from '../support/processes.ts'
import { finished, type Prompt, queue, run } from '../support/prompts.ts'

/** A pack with one node class. `waits`: its import in a worker waits until `letGo`. */
const pack = (cls: string, { waits = false, fails = false } = {}): Record<string, string> => ({
  'js/extension.js': '// of a pack\n',
  '__init__.py': `import os, time
import folder_paths
FOLDER = folder_paths.get_output_directory()
ISOLATED = "COMFYUI_ISOLATION_WORKER" in os.environ
if ${waits ? 'ISOLATED' : 'False'}:
    open(os.path.join(FOLDER, "waits-${cls}"), "w").close()
    while not os.path.exists(os.path.join(FOLDER, "go-${cls}")): time.sleep(0.01)
${fails ? `if ISOLATED and not os.path.exists(os.path.join(FOLDER, "go-${cls}")): raise ValueError("as asked")` : ''}
class Node:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"turn": ("INT", {})}}
    def run(self, turn): return {"ui": {"text": [f"${cls} {ISOLATED}"]}}
NODE_CLASS_MAPPINGS = {"${cls}": Node, "OfBoth": Node}
WEB_DIRECTORY = "./js"
`,
})
const node = (cls: string, turn = 1): Prompt => ({ '1': { class_type: cls, inputs: { turn } } })

let comfy: Comfy | undefined
let panel: PanelClient | undefined
afterEach(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
  comfy = panel = undefined
})

async function start(packs: Record<string, Record<string, string>>, isolated: string[], more: Partial<ComfyOptions> & { home?: Record<string, string> } = {}): Promise<Comfy> {
  comfy = await startWithFiles(packs, isolated, more)
  return comfy
}
const isWaiting = ({ base }: Comfy, cls: string): boolean => existsSync(join(base, 'output', `waits-${cls}`))
const letGo = ({ base }: Comfy, cls: string): void => writeFileSync(join(base, 'output', `go-${cls}`), '')
const textOf = async (made: Comfy, prompt: Prompt): Promise<unknown> => (await run(made.url, prompt)).outputs['1']?.text
const waits = (made: Comfy, name: string): Promise<number> => until('a prompt to wait', () => made.output().includes(`a prompt waits for ${name} to load`), 20_000)
const post = (made: Comfy, path: string, body: unknown): Promise<Response> => fetch(`${made.url}/api/${path}`, { method: 'POST', body: JSON.stringify(body) })

test('prompts posted as soon as the server answers run, with five packs that were never loaded', async () => {
  const names = ['one', 'two', 'three', 'four', 'five']
  const made = await start(Object.fromEntries(names.map((name) => [name, pack(`Of${name}`)])), names)
  expect(await Promise.all(names.map((name) => textOf(made, node(`Of${name}`))))).toEqual(names.map((name) => [`Of${name} True`]))
})

test('a prompt waits for the pack that it needs, and for no other; the browser hears of both', async () => {
  const made = await start({ slow: pack('Slow', { waits: true }), quick: pack('Quick'), inside: pack('Inside') }, ['slow', 'quick'])
  const events: { type: string; data: { packs?: string[] } }[] = []
  const socket = new WebSocket(`${made.url.replace('http', 'ws')}/ws?clientId=tests`)
  socket.addEventListener('message', ({ data }) => typeof data === 'string' && events.push(JSON.parse(data)))
  await new Promise((done) => socket.addEventListener('open', done))
  expect(await textOf(made, node('Quick'))).toEqual(['Quick True'])
  expect(await textOf(made, node('Inside'))).toEqual(['Inside False'])
  const held = textOf(made, node('Slow'))
  await waits(made, 'slow')
  expect(await textOf(made, node('Quick', 2))).toEqual(['Quick True']) // beside it
  panel = await PanelClient.connect(made.url)
  expect((await panel.until(({ packs }) => packs.some(({ id }) => id === 'slow'), 'slow')).packs.find(({ id }) => id === 'slow')?.isolation.state).toBe('starting')
  letGo(made, 'Slow')
  expect(await held).toEqual(['Slow True'])
  await panel.until(({ packs }) => packs.some(({ id, isolation, proxied }) => id === 'slow' && isolation.state === 'on' && proxied), 'slow to be there')
  expect((await fetch(`${made.url}/extensions/slow/extension.js`)).status).toBe(200)
  expect(events.filter(({ type }) => type === 'envmanager.waiting').map(({ data }) => data.packs)).toContainEqual(['slow'])
  expect(events.findLast(({ type }) => type === 'envmanager.waiting')?.data.packs).toEqual([])
  socket.close()
})

test('a prompt that waits is cancelled as others are, and says what it waited for', async () => {
  const made = await start({ slow: pack('Slow', { waits: true }), inside: pack('Inside') }, ['slow'])
  for (const [path, body] of [['interrupt', {}], ['queue', { clear: true }]] as const) {
    const said = made.output().length
    const held = queue(made.url, node('Slow')).catch(String)
    await until('a prompt to wait', () => made.output().slice(said).includes('a prompt waits for slow'), 20_000)
    await post(made, path, body)
    expect(await held).toContain('Cancelled while it waited for slow to load.')
  }
  const held = queue(made.url, node('Slow'))
  await post(made, 'interrupt', { prompt_id: crypto.randomUUID() }) // another one
  letGo(made, 'Slow')
  expect((await finished(made.url, await held)).outputs['1']?.text).toEqual(['Slow True'])
  await expect(queue(made.url, node('NoSuchClass'))).rejects.toThrow(/NoSuchClass|not found/) // and is not waited for
})

test('a pack that cannot be loaded says so, keeps no other from loading, and runs inside when it is switched off', async () => {
  const made = await start({ broken: pack('Broken', { fails: true }), fine: pack('Fine') }, ['broken', 'fine'])
  const held = queue(made.url, node('Broken')).catch(String)
  expect(await textOf(made, node('Fine'))).toEqual(['Fine True'])
  expect(await held).toMatch(/(Broken|not found).*broken runs isolated and could not be loaded: .*as asked\./)
  await expect(queue(made.url, { '1': { class_type: 'Fine', inputs: {} } })).rejects.toThrow(/^(?!.*could not be loaded)/s) // refused for something else
  panel = await PanelClient.connect(made.url)
  const state = await panel.until(({ packs }) => packs.some(({ id, isolation }) => id === 'broken' && isolation.state === 'failed'), 'broken to fail')
  expect(state.packs.find(({ id }) => id === 'broken')?.isolation).toMatchObject({ reason: expect.stringContaining('as asked') })
  await panel.call('isolation.set', { pack: 'broken', on: false })
  expect(await textOf(made, node('Broken'))).toEqual(['Broken False'])
})

test('a pack that could not be loaded has its classes as soon as its worker can', async () => {
  const made = await start({ broken: pack('Broken', { fails: true }) }, ['broken'])
  panel = await PanelClient.connect(made.url)
  await panel.until(({ packs }) => packs.some(({ id, isolation }) => id === 'broken' && isolation.state === 'failed'), 'broken to fail')
  letGo(made, 'Broken')
  await panel.call('worker.restart', { worker: 'broken#1' })
  await panel.until(({ packs }) => packs.some(({ id, proxied, import_error, isolation }) => id === 'broken' && proxied && import_error === null && isolation.state === 'on'), 'its classes')
  expect(await textOf(made, node('Broken'))).toEqual(['Broken True'])
})

test('a pack that is switched off while it loads is loaded inside, and stays there', async () => {
  const made = await start({ slow: pack('Slow', { waits: true }) }, ['slow'])
  await until('its import', () => isWaiting(made, 'Slow'), 20_000)
  panel = await PanelClient.connect(made.url)
  const off = panel.call('isolation.set', { pack: 'slow', on: false })
  const held = textOf(made, node('Slow'))
  letGo(made, 'Slow')
  await off
  expect(['Slow True', 'Slow False']).toContain(((await held) as string[])[0])
  expect(await textOf(made, node('Slow', 2))).toEqual(['Slow False'])
  await panel.until(({ packs }) => packs.some(({ id, isolation }) => id === 'slow' && isolation.state === 'off'), 'slow to be off')
})

test('of two packs with one class name the later one has it, whichever has loaded first', async () => {
  const made = await start({ a: pack('OfA', { waits: true }), b: pack('OfB') }, ['a', 'b'])
  expect(await textOf(made, node('OfB'))).toEqual(['OfB True'])
  letGo(made, 'OfA')
  expect(await textOf(made, node('OfA'))).toEqual(['OfA True'])
  // ComfyUI's order of loading is that of its folder
  const listed = execFileSync(PYTHON, ['-c', 'import os, sys; print(*os.listdir(sys.argv[1]))', join(made.base, 'custom_nodes')]).toString().split(/\s+/)
  const later = listed.findLast((name) => ['a', 'b'].includes(name))
  expect(await textOf(made, node('OfBoth', 2))).toEqual([`Of${later?.toUpperCase()} True`])
})

test('a server may wait for its packs before it answers', async () => {
  for (const file of [undefined, '\uFEFFstart = "wait"\r\n']) {
    const made = await start({ waited: pack('Waited') }, ['waited'], file ? { home: { 'settings.toml': file } } : { env: { COMFY_ENV_START: 'wait' } })
    expect(await (await fetch(`${made.url}/api/object_info`)).json()).toHaveProperty('Waited')
    await made.stop()
    made.remove()
  }
})

test('settings that are nested deeper than Python can read keep no ComfyUI from starting', async () => {
  const made = await start({ plain: pack('Plain') }, ['plain'], { home: { 'settings.toml': `start = "wait"\ndeep = ${'['.repeat(950)}${']'.repeat(950)}\n` } })
  expect(await textOf(made, node('Plain'))).toEqual(['Plain True'])
  expect(made.output()).toContain('settings.toml cannot be read')
})
