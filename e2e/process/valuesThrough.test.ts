/** Values through a real worker and back: docs/call-cases.md. What only ComfyUI's own executor does is tested with a real one. */
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { type Prompt, queue, run } from '../support/prompts.ts'

const PACKS = ['value-carrier', 'trouble-maker']
const real = Boolean(process.env.COMFYUI_DIR)

let comfy: Comfy
let panel: PanelClient

const through = (name: string, how: string): Prompt => ({
  '1': { class_type: 'ValueMake', inputs: { case: name } },
  '2': { class_type: 'Carry', inputs: { value: ['1', 0], how } },
  '3': { class_type: 'ValueCheck', inputs: { case: name, value: ['2', 0] } },
})
const made = (what: string, next: string, input: string): Prompt => ({
  '1': { class_type: 'CarryMake', inputs: { what } },
  '2': { class_type: next, inputs: { [input]: ['1', 0] } },
  ...(next !== 'ValueShow' && { '3': { class_type: 'ValueShow', inputs: { value: ['2', 0] } } }),
})

beforeAll(async () => {
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [...PACKS, 'value-host'] })
  panel = await PanelClient.connect(comfy.url)
  for (const pack of PACKS) {
    await panel.until(({ packs }) => packs.some(({ id, state }) => id === pack && state === 'ready'), pack)
    await panel.call('isolation.set', { pack, on: true })
  }
})

afterAll(async () => {
  panel.close()
  await comfy.stop()
  comfy.remove()
})

const CASES = ['nothing', 'tuples', 'deep', 'keys', 'markers', 'floats', 'text', 'bytes', 'numbers', 'latent', 'audio', 'conditioning', 'big', 'slice', 'empty', 'array', 'many']

test.each(CASES)('%s: there and back, and rebuilt', async (name) => {
  for (const how of ['same', 'rebuilt']) {
    const outcome = await run(comfy.url, through(name, how))
    expect(outcome.error.exception_message).toBeUndefined()
    expect(String(outcome.outputs['3']?.text?.[0])).toMatch(/^equal/)
  }
})

test('an image that a node passes through comes back as the very object', async () => {
  const { outputs } = await run(comfy.url, through('big', 'same'))
  expect(outputs['3']?.text?.[0]).toMatch(process.platform === 'linux' ? /^equal, the very object$/ : /^equal/)
})

test('hidden inputs arrive under the author’s names, the graph too', async () => {
  const { outputs } = await run(comfy.url, { ...through('nothing', 'same'), '9': { class_type: 'PreviewAny', inputs: { source: ['2', 1] } } })
  expect(outputs['9']?.text?.[0]).toMatch(comfy.real ? /^node 2 pid \d+ graph DynamicPrompt prompt \['1', '2'\]/ : /^node 2 pid \d+/)
})

test('a named tuple keeps its fields', async () => {
  const { outputs } = await run(comfy.url, made('named', 'ValueShow', 'value'))
  expect(outputs['2']?.text?.[0]).toMatch(/^Point \(?\[?'x', 'y'/)
})

test('an object stays in its worker; nodes there take it, and use other classes of their pack', async () => {
  const { outputs } = await run(comfy.url, made('own', 'CarryTake', 'thing'))
  expect(outputs['3']?.text?.[0]).toMatch(/^str None the name 1 in \d+$/)
})

test.each([
  ['a node of ComfyUI', 'ValueShow', 'value', /made by CarryMake \(node 1\).*cannot be used/s],
  ['a node of another worker', 'TroubleUse', 'thing', /TroubleUse \(node 2\) was given a .*Own that CarryMake \(node 1\) made/],
])('an object given to %s is an error that names both sides', async (_, next, input, expected) => {
  const { error } = await run(comfy.url, made('own', next, input))
  expect(error.node_id).toBe('2')
  expect(error.exception_message).toMatch(expected)
})

test.each([
  ['generator', /the result of CarryMake\[0\] is a builtins.generator/],
  ['cycle', /holds itself/],
  ['objects', /the result of CarryMake\[0\]\['deep'\]\[0\] is a numpy array of Python objects/],
])('%s cannot cross: the error names it and its place, and the worker lives', async (what, expected) => {
  const { error } = await run(comfy.url, made(what, 'ValueShow', 'value'))
  expect(error.exception_message).toMatch(expected)
  expect((await run(comfy.url, through('nothing', 'same'))).status).toBe('success')
})

test('a live object of ComfyUI is refused with its name and place', async () => {
  const { error } = await run(comfy.url, through('live', 'same'))
  expect(error.exception_message).toMatch(/the input of Carry \(node 2\)\['value'\] is a torch.nn.modules.linear.Linear, a live object/)
})

test('a result stays valid when its worker has been restarted', async () => {
  await run(comfy.url, through('big', 'rebuilt'))
  const worker = (await panel.snapshot()).workers.find(({ packs }) => packs.includes('value-carrier'))
  await panel.call('worker.stop', { worker: worker?.id })
  const { outputs } = await run(comfy.url, {
    ...through('big', 'rebuilt'),
    '4': { class_type: 'Carry', inputs: { value: ['2', 0], how: 'rebuilt' } },
    '5': { class_type: 'ValueCheck', inputs: { case: 'big', value: ['4', 0] } },
  })
  expect(String(outputs['5']?.text?.[0])).toMatch(/^equal/)
})

test.skipIf(!real)('lists in and out, ui, lazy inputs, expand and blocked outputs are as in-process (a real ComfyUI)', async () => {
  const lists = await run(comfy.url, {
    '1': { class_type: 'CarryLists', inputs: { values: 4, times: 3 } },
    '2': { class_type: 'ValueShow', inputs: { value: ['1', 0] } },
  })
  expect(lists.outputs['1']?.made).toEqual(['[4, 4, 4]'])
  expect(lists.outputs['2']?.text).toHaveLength(3)
  const lazy = await run(comfy.url, {
    '1': { class_type: 'ValueMake', inputs: { case: 'tuples' } },
    '2': { class_type: 'CarryMake', inputs: { what: 'generator' } },
    '3': { class_type: 'CarryLazy', inputs: { first: true, a: ['1', 0], b: ['2', 0] } },
    '4': { class_type: 'ValueCheck', inputs: { case: 'tuples', value: ['3', 0] } },
  })
  expect(String(lazy.outputs['4']?.text?.[0])).toMatch(/^equal/)
  const expanded = await run(comfy.url, { '1': { class_type: 'CarryExpand', inputs: { number: 5 } }, '2': { class_type: 'ValueCheck', inputs: { case: 'number 5', value: ['1', 0] } } })
  expect(String(expanded.outputs['2']?.text?.[0])).toMatch(/^equal/)
  expect(Object.keys(expanded.outputs).toSorted()).toEqual(['1.0.0.2', '2'])
  const listed = await run(comfy.url, {
    '0': { class_type: 'CarryLists', inputs: { values: 5, times: 2 } },
    '1': { class_type: 'CarryExpand', inputs: { number: ['0', 0] } },
    '2': { class_type: 'ValueShow', inputs: { value: ['1', 0] } },
  })
expect(Object.keys(listed.outputs).toSorted()).toEqual(['0', '1.0.0.2', '1.1.0.2', '2'])
  const blocked = await run(comfy.url, made('blocked', 'ValueShow', 'value'))
  expect([blocked.status, blocked.outputs['2']]).toEqual(['success', undefined])
})

test('classes without a method to run are there as in ComfyUI, and do not keep the others from running', async () => {
  const known = (await (await fetch(`${comfy.url}/api/object_info`)).json()) as Record<string, { input: unknown; output: unknown[] }>
  expect(known.CarryNote).toMatchObject({ input: { required: { note: ['STRING', { default: 'read this', multiline: true }] } }, output: [] })
  expect((await run(comfy.url, { '1': { class_type: 'CarryLost', inputs: {} } })).error.exception_message).toMatch(/has no attribute 'gone'/)
  expect((await run(comfy.url, through('nothing', 'same'))).status).toBe('success')
})

const looked = async (name: string) =>
  run(comfy.url, {
    '1': { class_type: 'EmptyImage', inputs: { width: 8, height: 8, batch_size: 1, color: 0 } },
    '2': { class_type: 'TroubleLook', inputs: { image: ['1', 0], name } },
    '3': { class_type: 'ValueShow', inputs: { value: ['2', 0] } },
  })

test('a node that looks other node classes up finds what they say of themselves, and is told that it cannot run them', async () => {
  const { outputs } = await looked('ValueShow')
  expect(outputs['3']?.text?.[0]).toMatch(/^str None False True ValueShow is of another node pack.*switch its isolation off\.$/)
  expect((await looked('NobodyHasThis')).error).toMatchObject({ exception_type: 'KeyError', exception_message: expect.stringMatching(/^'NobodyHasThis'\s*$/) as string })
})

test.skipIf(!real)('a node that uses one of ComfyUI’s extra nodes gets it (a real ComfyUI)', async () => {
  expect((await looked('SolidMask')).outputs['3']?.text?.[0]).toMatch(/^str None True (None|False) \(1, 4, 8\)$/) // a V3 class has every attribute
})

test.skipIf(!real)('a VIDEO goes through a worker: one of pictures, and one of a file (a real ComfyUI)', async () => {
  const through = { '2': { class_type: 'Carry', inputs: { value: ['1', 0], how: 'same' } }, '3': { class_type: 'GetVideoComponents', inputs: { video: ['2', 0] } } }
  const shown = { '4': { class_type: 'ValueShow', inputs: { value: ['3', 0] } }, '5': { class_type: 'ValueShow', inputs: { value: ['3', 2] } } }
  const pictures = await run(comfy.url, {
    '0': { class_type: 'EmptyImage', inputs: { width: 64, height: 32, batch_size: 3, color: 0xffffff } },
    '1': { class_type: 'CreateVideo', inputs: { images: ['0', 0], fps: 12 } },
    ...through,
    ...shown,
    '6': { class_type: 'SaveVideo', inputs: { video: ['2', 0], filename_prefix: 'film', format: 'auto', codec: 'auto' } },
  })
  expect(pictures.error.exception_message).toBeUndefined()
  expect(pictures.outputs['4']?.text?.[0]).toMatch(/^Tensor .*1\., 1\., 1\./s)
  expect(pictures.outputs['5']?.text?.[0]).toBe('float None 12.0')
  copyFileSync(join(comfy.base, 'output', 'film_00001_.mp4'), join(comfy.base, 'input', 'film.mp4'))
  const file = await run(comfy.url, { '1': { class_type: 'LoadVideo', inputs: { file: 'film.mp4' } }, ...through, ...shown })
  expect(file.error.exception_message).toBeUndefined()
  expect(file.outputs['5']?.text?.[0]).toBe('float None 12.0')
})

test.skipIf(!real)('IS_CHANGED decides with a cold worker too, and checks of inputs are the pack’s own (a real ComfyUI)', async () => {
  const file = join(comfy.base, 'watched.txt')
  writeFileSync(file, 'one')
  const prompt: Prompt = { '1': { class_type: 'CarryChanged', inputs: { file } } }
  const runs = async (): Promise<unknown> => (await run(comfy.url, prompt)).outputs['1']?.runs?.[0]
  const first = await runs()
  expect(await runs()).toBe(first)
  const worker = (await panel.snapshot()).workers.find(({ packs }) => packs.includes('value-carrier'))
  await panel.call('worker.stop', { worker: worker?.id })
  expect(await runs()).toBe(first)
  writeFileSync(file, 'two')
  expect(await runs()).not.toBe(first)
  await expect(queue(comfy.url, { '1': { class_type: 'CarryChanged', inputs: { file: `${file}.gone` } } })).rejects.toThrow(/there is no file watched.txt.gone/)
})
