/** What an isolated pack does beside its nodes' results: routes, prompt handlers, choices, pictures, and nodes side by side. */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { until } from '../support/processes.ts'
import { run } from '../support/prompts.ts'
import { trouble } from '../support/workflows.ts'

const PACK = 'trouble-maker'

let comfy: Comfy
let panel: PanelClient

const get = async (path: string): Promise<Record<string, unknown>> => (await (await fetch(`${comfy.url}${path}`)).json()) as Record<string, unknown>
const workerPids = async (): Promise<(number | null)[]> => (await panel.snapshot()).workers.map(({ pid }) => pid)

beforeAll(async () => {
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [PACK], env: { COMFY_ENV_WORKERS_PER_PACK: '2' } })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, state }) => id === PACK && state === 'ready'), PACK)
  await panel.call('isolation.set', { pack: PACK, on: true })
})

afterAll(async () => {
  panel.close()
  await comfy.stop()
  comfy.remove()
})

test('a route of an isolated pack is answered by its worker, under /api too', async () => {
  for (const path of ['/trouble/one?a=1', '/api/trouble/one?a=1']) {
    const said = await get(path)
    expect(said).toMatchObject({ name: 'one', query: { a: '1' } })
    expect(await workerPids()).toContain(said.pid)
  }
  const posted = await fetch(`${comfy.url}/trouble/two`, { method: 'POST', body: 'abc' })
  expect([posted.status, await posted.text()]).toEqual([201, 'cba'])
  expect((await fetch(`${comfy.url}/trouble/one`)).headers.get('x-trouble')).toBe('1')
})

test('a WebSocket route of an isolated pack is its worker’s: messages go both ways, either side closes', async () => {
  const socket = new WebSocket(`${comfy.url.replace('http', 'ws')}/trouble/live/one`, ['shout'])
  const got: string[] = []
  socket.on('message', (data: Buffer) => got.push(data.toString()))
  await new Promise((done) => socket.once('open', done))
  socket.send('hello')
  socket.send(Buffer.from('abc'))
  await until('both answers', () => got.length === 2, 5000)
  const pid = Number(/^one (\d+) HELLO$/.exec(got[0] ?? '')?.[1])
  expect(await workerPids()).toContain(pid)
  expect([got[1], socket.protocol]).toEqual(['cba', 'shout'])
  const closed = new Promise<number>((done) => socket.once('close', done))
  socket.send('close')
  expect(await closed).toBe(4000)
})

test('a route starts the worker if it does not run', async () => {
  const [worker] = (await panel.snapshot()).workers
  await panel.call('worker.stop', { worker: worker?.id })
  expect(await get('/trouble/again')).toMatchObject({ name: 'again' })
})

test('when ComfyUI unloads its models, workers unload theirs', async () => {
  const unloaded = async (number: number): Promise<string> => {
    const prompt = { [String(number)]: { class_type: 'TroubleUnloads', inputs: {} }, p: { class_type: 'PreviewAny', inputs: { source: [String(number), 0] } } }
    return String((await run(comfy.url, prompt)).outputs.p?.text?.[0])
  }
  const before = await unloaded(1)
  const pid = before.split(' ').at(-1)
  expect(await workerPids()).toContain(Number(pid))
  expect(before).toBe(`0 in ${pid}`)
  await fetch(`${comfy.url}/api/free`, { method: 'POST', body: JSON.stringify({ unload_models: true, free_memory: true }), headers: { 'content-type': 'application/json' } })
  let asked = 1 // another node each time: ComfyUI keeps results
  await until('the worker to unload', async () => (await unloaded(++asked)) === `1 in ${pid}`, 10_000)
})

test('a prompt handler of an isolated pack sees every prompt before it is queued', async () => {
  const { outputs } = await run(comfy.url, {
    '1': { class_type: 'TroubleMake', inputs: { number: -1 } },
    '2': { class_type: 'TroubleUse', inputs: { thing: ['1', 0] } },
    '3': { class_type: 'PreviewAny', inputs: { source: ['2', 0] } },
  })
  const number = Number(/^number (\d+) in/.exec(String(outputs['3']?.text?.[0]))?.[1])
  expect(await workerPids()).toContain(number)
})

test('a file that is added shows after Refresh, with what the pack has put around the list', async () => {
  const folder = join(comfy.base, 'models', 'trouble')
  mkdirSync(folder, { recursive: true })
  const choices = async (): Promise<unknown> => ((await get('/api/object_info')) as Record<string, { input: { required: { file: unknown[] } } }>).TroubleFiles?.input.required.file[0]
  writeFileSync(join(folder, 'first.bin'), '')
  expect(await choices()).toEqual(['none', 'first.bin'])
  writeFileSync(join(folder, 'second.bin'), '')
  expect(await choices()).toEqual(['none', 'first.bin', 'second.bin'])
  const { outputs } = await run(comfy.url, {
    '7': { class_type: 'TroubleFiles', inputs: { file: 'second.bin' } },
    '3': { class_type: 'PreviewAny', inputs: { source: ['7', 0] } },
  })
  expect(outputs['3']?.text?.[0]).toBe('second.bin in node 7')
})

test('a pack that ComfyUI never imports offers the same: routes, handlers, choices that change, checks of inputs', async () => {
  const base = mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
  mkdirSync(join(base, 'user', '__envmanager'), { recursive: true })
  writeFileSync(join(base, 'user', '__envmanager', 'state.json'), JSON.stringify({ schema: 1, isolated: [PACK] }))
  const other = await startComfy({ frontend: FRONTENDS[0], packs: [PACK], base })
  try {
    const choices = async (): Promise<unknown> => {
      const info = (await (await fetch(`${other.url}/api/object_info`)).json()) as Record<string, { input: { required: { file: unknown[] } } }>
      return info.TroubleFiles?.input.required.file[0]
    }
    const folder = join(base, 'models', 'trouble')
    mkdirSync(folder, { recursive: true })
    await until('its node classes', async () => JSON.stringify(await choices()) === '["none"]', 60_000)
    writeFileSync(join(folder, 'new.bin'), '')
    await until('the new file to show', async () => JSON.stringify(await choices()) === '["none","new.bin"]', 5000)
    expect(await (await fetch(`${other.url}/trouble/here`)).json()).toMatchObject({ name: 'here' })
    const made = await run(other.url, {
      '1': { class_type: 'TroubleMake', inputs: { number: -1 } },
      '2': { class_type: 'TroubleUse', inputs: { thing: ['1', 0] } },
      '3': { class_type: 'PreviewAny', inputs: { source: ['2', 0] } },
    })
    expect(made.outputs['3']?.text?.[0]).not.toMatch(/number -1|number 41/)
  } finally {
    await other.stop()
    other.remove()
  }
})

test('a function that a node returns can be called by the next node of its worker', async () => {
  const { outputs } = await run(comfy.url, {
    ...trouble('TroubleFunction'),
    '3': { class_type: 'TroubleCall', inputs: { function: ['2', 0] } },
    '4': { class_type: 'PreviewAny', inputs: { source: ['3', 0] } },
  })
  expect(outputs['4']?.text?.[0]).toMatch(/^called in process \d+$/)
})

test.skipIf(!process.env.COMFYUI_DIR)('events and pictures for the browser pass (a real ComfyUI)', async () => {
  const socket = new WebSocket(`${comfy.url.replace('http', 'ws')}/ws?clientId=tests`)
  const events: string[] = []
  let said: Record<string, unknown> = {}
  socket.on('message', (data: Buffer, binary) => {
    if (binary) return void events.push(`binary ${data.readUInt32BE(0)}`)
    const { type, data: content } = JSON.parse(data.toString()) as { type: string; data: Record<string, unknown> }
    events.push(type)
    if (type === 'trouble.said') said = content
  })
  await new Promise((done) => socket.once('open', done))
  expect((await run(comfy.url, trouble('TroublePreview'))).status).toBe('success')
  await until('the preview', () => events.includes('binary 1') || events.includes('binary 4'), 5000)
  events.length = 0
  const talk = { ...trouble('TroubleTalk'), '3': { class_type: 'PreviewAny', inputs: { source: ['2', 0] } } }
  expect((await run(comfy.url, talk)).status).toBe('success')
  await until('the picture', () => events.some((event) => event.startsWith('binary')), 5000)
  await until('the event', () => events.includes('trouble.said'), 5000)
  expect(said).toMatchObject({ client: 'tests', node: '2' })
  expect(await workerPids()).toContain(said.where)
  socket.terminate()
})

test('a node that stops the prompt stops it after itself, and the next prompt runs', async () => {
  const stopped = await run(comfy.url, { ...trouble('TroubleStop'), '3': { class_type: 'PreviewImage', inputs: { images: ['2', 0] } } })
  expect([stopped.end, stopped.outputs]).toEqual(['execution_interrupted', {}])
  const next = await run(comfy.url, { ...trouble('TroublePreview'), '3': { class_type: 'PreviewImage', inputs: { images: ['2', 0] } } })
  expect([next.status, Object.keys(next.outputs)]).toEqual(['success', ['3']])
})

test('two nodes of one pack run beside each other where it has two workers', async () => {
  const meet = (name: string, other: string) => ({ class_type: 'TroubleMeet', inputs: { image: ['1', 0], name, other } })
  const { outputs, error } = await run(comfy.url, {
    ...trouble('TroublePattern'),
    '2': meet('one', 'two'),
    '3': { class_type: 'PreviewAny', inputs: { source: ['2', 0] } },
    '5': meet('two', 'one'),
    '6': { class_type: 'PreviewAny', inputs: { source: ['5', 0] } },
  })
  expect(error.exception_message).toBeUndefined()
  expect([outputs['3']?.text?.[0], outputs['6']?.text?.[0]]).toEqual(['one met two', 'two met one'])
})

test('a picture goes from one node to the next of another worker, bit by bit', async () => {
  const outcome = await run(comfy.url, {
    '1': { class_type: 'TroublePattern', inputs: {} },
    '2': { class_type: 'TroubleSleep', inputs: { image: ['1', 0], seconds: 0.3 } },
    '3': { class_type: 'TroubleSleep', inputs: { image: ['1', 0], seconds: 0.31 } },
    '4': { class_type: 'TroubleInPlace', inputs: { image: ['2', 0] } },
    '5': { class_type: 'TroubleSave', inputs: { image: ['2', 0], name: 'kept' } },
    '6': { class_type: 'TroubleSave', inputs: { image: ['3', 0], name: 'same' } },
    '7': { class_type: 'TroubleSave', inputs: { image: ['4', 0], name: 'changed' } },
  })
  expect(outcome.status).toBe('success')
  const read = (name: string): Buffer => readFileSync(join(comfy.base, 'output', `${name}.npy`))
  expect(read('kept').equals(read('same'))).toBe(true)
  expect(read('changed').equals(read('kept'))).toBe(false)
})
