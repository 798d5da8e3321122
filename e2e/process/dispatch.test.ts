import { afterAll, beforeAll, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { startComfy, type Comfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { finished, forgetResults, queue, run, type Prompt } from '../support/prompts.ts'

/** Which node objects are sent to workers: those of the exact class that the user has chosen, and no other. */

let comfy: Comfy
let panel: PanelClient
let turn = 0

beforeAll(async () => {
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: ['inherited-nodes', 'core-name', 'trouble-maker'] })
  panel = await PanelClient.connect(comfy.url)
  for (const pack of ['inherited-nodes', 'core-name', 'trouble-maker']) {
    await panel.until(({ packs }) => packs.some(({ id, state }) => id === pack && state === 'ready'), pack)
  }
})

afterAll(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
})

const shown = (class_type: string, inputs: Record<string, unknown>): Prompt => ({
  '1': { class_type, inputs },
  '2': { class_type: 'PreviewAny', inputs: { source: ['1', 0] } },
})

async function said(class_type: string, inputs: Record<string, unknown> = { turn: ++turn }): Promise<string> {
  const { outputs, error } = await run(comfy.url, shown(class_type, inputs))
  return String(outputs['2']?.text?.[0] ?? error.exception_message)
}

const ours = (): number => comfy.process.pid ?? 0

test('one isolated class: those that inherit from it stay in ComfyUI, and are themselves', async () => {
  await panel.call('isolation.set', { pack: 'inherited-nodes', class: 'InheritBase', on: true })
  expect(await said('InheritBase')).toMatch(/^InheritBase \d+$/)
  expect(await said('InheritBase')).not.toContain(` ${ours()}`)
  expect(await said('InheritPlain')).toBe(`InheritPlain ${ours()}`)
  expect(await said('InheritSuper')).toBe(`InheritSuper ${ours()} over`)
})

test('the whole pack: each class is itself in the worker, and again in ComfyUI afterwards', async () => {
  await panel.call('isolation.set', { pack: 'inherited-nodes', class: 'InheritBase', on: null })
  await panel.call('isolation.set', { pack: 'inherited-nodes', on: true })
  const [pid] = (await said('InheritBase')).split(' ').slice(1)
  expect(Number(pid)).not.toBe(ours())
  expect(await said('InheritPlain')).toBe(`InheritPlain ${pid}`)
  expect(await said('InheritSuper')).toBe(`InheritSuper ${pid} over`)
  expect(await said('InheritPut')).toBe(`InheritPut ${pid}`)
})

test('an object’s own FUNCTION counts, and its state ends when ComfyUI lets go of it', async () => {
  expect([await said('InheritOwnFunction'), await said('InheritOwnList')]).toEqual(['second', 'a list'])
  expect([await said('InheritSlots'), await said('InheritSlots')]).toEqual(['call 1', 'call 2'])
  await forgetResults(comfy.url)
  // a prompt that ComfyUI takes up before it has looked at what to free still has the object
  await expect.poll(() => said('InheritSlots'), { timeout: 20_000 }).toBe('call 1')
})

test('a node object is made in the process that it works in, once, and nowhere else', async () => {
  const pid = (await said('InheritBase')).split(' ')[1]
  expect([await said('InheritMade'), await said('InheritMade')]).toEqual([`${pid} call 1`, `${pid} call 2`])
  await panel.call('isolation.set', { pack: 'inherited-nodes', on: false })
  expect([await said('InheritMade'), await said('InheritMade')]).toEqual([`${pid} ${ours()} call 1`, `${pid} ${ours()} call 2`])
  await panel.call('isolation.set', { pack: 'inherited-nodes', on: true })
  expect(await said('InheritMade')).toMatch(/^(\d+ ){3}call 1$/)
})

test('a class under a second name is the pack’s under that one alone', async () => {
  const preview = async (class_type: string): Promise<unknown> => (await run(comfy.url, { '1': { class_type: 'InheritBase', inputs: { turn: ++turn } }, '2': { class_type, inputs: { source: ['1', 0] } } })).outputs['2']?.text?.[0]
  expect([await preview('PreviewAny'), await preview('InheritPreview')]).toEqual([expect.stringMatching(/^InheritBase/), expect.stringMatching(/^InheritBase/)])
})

test('so it is where ComfyUI keeps no objects', async () => {
  const other = await startComfy({ frontend: FRONTENDS[0], packs: ['inherited-nodes'], args: ['--cache-none'] })
  try {
    const client = await PanelClient.connect(other.url)
    await client.until(({ packs }) => packs.some(({ id, state }) => id === 'inherited-nodes' && state === 'ready'), 'inherited-nodes')
    await client.call('isolation.set', { pack: 'inherited-nodes', on: true })
    const one = async (): Promise<unknown> => (await run(other.url, shown('InheritMade', { turn: ++turn }))).outputs['2']?.text?.[0]
    const first = String(await one())
    expect(first).not.toContain(`${other.process.pid}`)
    expect([first, await one()]).toEqual([expect.stringMatching(/^\d+ call 1$/), expect.stringMatching(/^(\d+ ){2}call 1$/)])
    const many = await run(other.url, { '1': { class_type: 'InheritMany', inputs: { turn: ++turn } }, '2': { class_type: 'InheritCount', inputs: { turn: ['1', 0] } }, '3': { class_type: 'PreviewAny', inputs: { source: ['2', 0] } } })
    expect(many.outputs['3']?.text).toEqual(['item 1', 'item 2', 'item 3'])
    client.close()
  } finally {
    await other.stop()
    other.remove()
  }
})

test.skipIf(process.platform === 'win32').each(['return', 'exit', 'raise'])('a child that a node has forked is not the worker (%s) (skipped: needs fork)', async (how) => {
  const before = await said('InheritBase')
  expect(await said('InheritFork', { turn: ++turn, how })).toBe('parent True')
  expect(await said('InheritBase')).toBe(before)
})

test('a class without a hash runs, and so does one under either of its names', async () => {
  expect(await said('InheritStrange', {})).toBe('strange')
  expect(await said('InheritAlias')).toBe(await said('InheritBase'))
})

test('each name of a class that has two is chosen for itself', async () => {
  const set = (name: string | undefined, on: boolean | null): Promise<unknown> => panel.call('isolation.set', { pack: 'inherited-nodes', ...(name && { class: name }), on })
  const inside = async (name: string): Promise<boolean> => (await said(name)) === `InheritBase ${ours()}`
  await set('InheritAlias', false)
  expect([await inside('InheritBase'), await inside('InheritAlias')]).toEqual([false, true])
  await set('InheritAlias', null)
  await set('InheritBase', false)
  expect([await inside('InheritBase'), await inside('InheritAlias')]).toEqual([true, false])
  await set('InheritBase', null)
  await set(undefined, false)
  for (const name of ['InheritBase', 'InheritAlias']) {
    await set(name, true)
    expect([await inside('InheritBase'), await inside('InheritAlias')]).toEqual([name !== 'InheritBase', name !== 'InheritAlias'])
    await set(name, null)
  }
  await set(undefined, true)
})

test('inputs may have any name', async () => {
  expect(await said('InheritNames', { cls: 1, self: 2, func: 3, prompt_id: 4 })).toBe('cls=1 func=3 prompt_id=4 self=2')
})

test('the checks of a loaded pack see what its runs have left', async () => {
  expect(await said('InheritState', { turn: 7 })).toMatch(/^1 /)
  expect(await said('InheritState', { turn: 7 })).toMatch(/^2 /) // IS_CHANGED has seen the first run, in the same process
  await expect(queue(comfy.url, shown('InheritState', { turn: -1 }))).rejects.toThrow(/seen [1-9]/)
})

test('switched while a prompt runs: that prompt ends where it has begun', async () => {
  const id = await queue(comfy.url, {
    '1': { class_type: 'TroublePattern', inputs: {} },
    '2': { class_type: 'TroubleSleep', inputs: { image: ['1', 0], seconds: 1.5 + ++turn / 1000 } },
    '3': { class_type: 'InheritBase', inputs: { turn: ++turn } },
    '4': { class_type: 'PreviewImage', inputs: { images: ['2', 0] } },
    '5': { class_type: 'PreviewAny', inputs: { source: ['3', 0] } },
  })
  await panel.call('isolation.set', { pack: 'inherited-nodes', on: false })
  expect((await finished(comfy.url, id)).status).toBe('success')
  expect(await said('InheritBase')).toBe(`InheritBase ${ours()}`)
})

test('a pack’s class with a name of ComfyUI’s own is ignored, isolated or not', async () => {
  const image = { '1': { class_type: 'EmptyImage', inputs: { width: 64, height: 64, batch_size: 1, color: 0 } }, '2': { class_type: 'PreviewImage', inputs: { images: ['1', 0] } } }
  for (const on of [true, false, true]) {
    await panel.call('isolation.set', { pack: 'core-name', on })
    expect((await run(comfy.url, image)).status).toBe('success')
    expect(await said('CoreNameOther', { width: ++turn })).toBe('not an image')
  }
})

test('an isolated pack’s route with a path of ComfyUI’s own comes after it, and its others are served in its worker', async () => {
  await panel.call('isolation.set', { pack: 'core-name', on: true })
  const get = async (path: string): Promise<unknown> => (await fetch(`${comfy.url}${path}`)).json()
  expect(await get('/api/features')).not.toHaveProperty('taken')
  expect(await get('/core-name/pid')).not.toBe(ours())
})

test('a prompt may have any keys, also with a handler of an isolated pack', async () => {
  await panel.call('isolation.set', { pack: 'trouble-maker', on: true })
  const body = { prompt: shown('InheritState', { turn: ++turn }), extra_data: { constructor: { prototype: 1 }, ['__proto__x']: 2 }, client_id: 'tests' }
  const text = JSON.stringify(body).replace('__proto__x', '__proto__')
  const response = await fetch(`${comfy.url}/api/prompt`, { method: 'POST', body: text })
  const { prompt_id } = (await response.json()) as { prompt_id: string }
  expect((await finished(comfy.url, prompt_id)).status).toBe('success')
  expect(comfy.output()).not.toContain('did not pass the handlers')
})

test('ComfyUI started again with isolated packs: the same, and back, while prompts wait', async () => {
  await panel.call('isolation.set', { pack: 'inherited-nodes', on: true })
  panel.close()
  await comfy.stop()
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], base: comfy.base })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, isolation }) => id === 'inherited-nodes' && isolation.state === 'on'), 'inherited-nodes')
  const image = { '1': { class_type: 'EmptyImage', inputs: { width: 64, height: 64, batch_size: 1, color: 0 } }, '2': { class_type: 'PreviewImage', inputs: { images: ['1', 0] } } }
  expect((await run(comfy.url, image)).status).toBe('success')
  expect(await said('InheritNames', { cls: 1, self: 2, func: 3, prompt_id: 4 })).toBe('cls=1 func=3 prompt_id=4 self=2')
  expect(await said('InheritSuper')).toMatch(/^InheritSuper \d+ over$/)
  expect(await said('InheritPut')).not.toContain(` ${ours()}`)
  const slow = (seconds: number): Promise<string> =>
    queue(comfy.url, { '1': { class_type: 'TroublePattern', inputs: {} }, '2': { class_type: 'TroubleSleep', inputs: { image: ['1', 0], seconds } }, '3': { class_type: 'InheritBase', inputs: { turn: ++turn } }, '4': { class_type: 'PreviewImage', inputs: { images: ['2', 0] } }, '5': { class_type: 'PreviewAny', inputs: { source: ['3', 0] } } })
  const ids = [await slow(1.1), await slow(1.2), await slow(1.3)]
  await panel.call('isolation.set', { pack: 'inherited-nodes', on: false })
  for (const id of ids) expect((await finished(comfy.url, id)).status).toBe('success')
  expect(await said('InheritSuper')).toBe(`InheritSuper ${ours()} over`)
  await panel.call('isolation.set', { pack: 'core-name', on: false })
  expect((await run(comfy.url, image)).status).toBe('success')
})
