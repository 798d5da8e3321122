import { afterAll, beforeAll, expect, test } from 'vitest'
import { readFileSync } from 'node:fs'
import { WebSocket } from 'ws'
import { join } from 'node:path'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { until } from '../support/processes.ts'
import { finished, queue, run } from '../support/prompts.ts'
import { trouble } from '../support/workflows.ts'

const PACK = 'trouble-maker'

let comfy: Comfy
let panel: PanelClient

const isolate = (on: boolean): Promise<unknown> => panel.call('isolation.set', { pack: PACK, on })
async function text(cls: string): Promise<string> {
  return String((await run(comfy.url, trouble(cls))).outputs['3']?.text?.[0])
}

beforeAll(async () => {
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [PACK] })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, state }) => id === PACK && state === 'ready'), PACK)
})

afterAll(async () => {
  panel.close()
  await comfy.stop()
  comfy.remove()
})

test('the switch works both ways on a loaded pack, and a node keeps its state in its worker', async () => {
  const inside = await text('TroubleWhere')
  expect(inside).toMatch(new RegExp(`^pid ${comfy.process.pid} call 1 isolated 0$`))
  await isolate(true)
  expect(await text('TroubleWhere')).toMatch(/call 1 isolated 1$/)
  expect(await text('TroubleWhere')).toMatch(/call 2 isolated 1$/)
  await isolate(false)
  expect(await text('TroubleWhere')).toMatch(new RegExp(`^pid ${comfy.process.pid} call \\d isolated 0$`))
  await isolate(true)
})

test.each([
  ['value', 'ValueError', 'the message'],
  ['custom', 'CustomError', 'the custom message'],
  ['exit', 'SystemExit', '3'],
  ['empty', 'AssertionError', ''],
])('an exception (%s) keeps its class, message and traceback', async (how, type, message) => {
  const { error } = await run(comfy.url, trouble('TroubleRaise', { how }))
  expect(error.exception_type?.split('.').at(-1)).toBe(type)
  expect(error.exception_message?.trim()).toBe(message)
  expect(error.traceback?.join('')).toContain('trouble-maker/__init__.py')
  expect(error.traceback?.join('')).toContain('TroubleRaise')
})

test('switches that come while one is under way: the last one counts', async () => {
  const before = (await panel.snapshot()).packs.find(({ id }) => id === PACK)?.isolation.state === 'on'
  for (const last of [false, true, before]) {
    const switches = [!last, last, !last, last].map((on) => panel.call('isolation.set', { pack: PACK, on }))
    await Promise.allSettled(switches)
    const { packs } = await panel.until((snapshot) => snapshot.packs.some(({ id, isolation }) => id === PACK && isolation.state !== 'starting'), 'the switches')
    expect(packs.find(({ id }) => id === PACK)?.isolation.state).toBe(last ? 'on' : 'off')
    expect(await text('TroubleWhere')).toMatch(last ? /isolated 1$/ : /isolated 0$/)
  }
})

test('progress of an isolated node reaches the browser, on that node', async () => {
  const socket = new WebSocket(`${comfy.url.replace('http', 'ws')}/ws?clientId=tests`)
  const steps: { value: number; max: number; node: string }[] = []
  socket.on('message', (data: Buffer, binary) => {
    const message = binary ? null : (JSON.parse(data.toString()) as { type: string; data: (typeof steps)[number] })
    if (message?.type === 'progress') steps.push(message.data)
  })
  await new Promise((done) => socket.once('open', done))
  expect((await run(comfy.url, trouble('TroubleSteps', { steps: 4 }))).status).toBe('success')
  await until('the last step', () => steps.some(({ value }) => value === 4), 5000)
  socket.terminate()
  expect(steps.map(({ value, max, node }) => [value, max, node])).toEqual([1, 2, 3, 4].map((value) => [value, 4, '2']))
})

test('a node that writes into its input changes nothing outside', async () => {
  const inPlace = trouble('TroubleInPlace')
  const outcome = await run(comfy.url, {
    ...inPlace,
    '4': { class_type: 'TroubleSave', inputs: { image: ['2', 0], name: 'changed' } },
    '5': { class_type: 'TroubleSave', inputs: { image: ['1', 0], name: 'source' } },
    // runs after node 2, on the source
    '6': { class_type: 'TroubleSave', inputs: { image: ['7', 0], name: 'source-later' } },
    '7': { class_type: 'TroubleSleep', inputs: { image: ['1', 0], seconds: 0.2 } },
  })
  expect(outcome.status).toBe('success')
  const read = (name: string): Buffer => readFileSync(join(comfy.base, 'output', `${name}.npy`))
  expect(read('source').equals(read('source-later'))).toBe(true)
  expect(read('changed').equals(read('source'))).toBe(false)
})

test('an object that cannot cross stays in its worker, and the next isolated node gets it', async () => {
  const { outputs } = await run(comfy.url, {
    '1': { class_type: 'TroubleMake', inputs: { number: 41 } },
    '2': { class_type: 'TroubleUse', inputs: { thing: ['1', 0] } },
    '3': { class_type: 'PreviewAny', inputs: { source: ['2', 0] } },
  })
  expect(outputs['3']?.text?.[0]).toMatch(/^number 41 in process \d+$/)
})

test('everything that a node prints lands in its worker’s log, under the node’s name', async () => {
  await run(comfy.url, trouble('TroublePrint'))
  const { lines } = await panel.call<{ lines: { text: string; phase: string }[] }>('log.read', { log: `${PACK}#1`, after: 0 })
  for (const said of ['from print', 'from stderr', 'from descriptor 1', 'from native code']) {
    expect(lines.find(({ text: line }) => line === said)?.phase).toBe('TroublePrint (node 2)')
  }
})

test('the switch lets a running call finish, and its result arrive', async () => {
  for (let round = 0; round < 5; round++) {
    await isolate(true)
    const prompt = await queue(comfy.url, trouble('TroubleSleep', { seconds: 0.2 + round / 100 }))
    await panel.until(({ workers }) => workers.some(({ state }) => state.status === 'busy'), 'the call')
    await isolate(false)
    expect(await finished(comfy.url, prompt)).toMatchObject({ status: 'success', error: {} })
  }
  await isolate(true)
})

test('an interrupted call gives its memory back when it ends late', async () => {
  const prompt = await queue(comfy.url, trouble('TroubleSleep', { seconds: 0.8 }))
  await panel.until(({ workers }) => workers.some(({ state }) => state.status === 'busy'), 'the call')
  await fetch(`${comfy.url}/api/interrupt`, { method: 'POST' })
  expect((await finished(comfy.url, prompt)).end).toBe('execution_interrupted')
  await panel.until(({ workers }) => workers.some(({ state }) => state.status === 'ready'), 'the worker to be free')
  // it waits for results on their way: one that never arrived would hold it for a minute
  const before = Date.now()
  await isolate(false)
  expect(Date.now() - before).toBeLessThan(10_000)
  await isolate(true)
})

test('unknown ids and messages are refused in one sentence, and the link goes on', async () => {
  await expect(panel.call('isolation.set', { pack: 'nowhere', on: true })).rejects.toThrow(/UNKNOWN_PACK: There is no node pack `nowhere`/)
  await expect(panel.call('isolation.set', { pack: '../..', on: true })).rejects.toThrow(/BAD_REQUEST/)
  await expect(panel.call('isolation.set', { pack: PACK, on: true, path: '/etc' })).rejects.toThrow(/BAD_REQUEST/)
  await expect(panel.call('no.such', {})).rejects.toThrow(/BAD_REQUEST/)
  expect((await panel.snapshot()).packs.length).toBeGreaterThan(0)
})

test.each([
  ['another site', { origin: 'http://evil.example' }],
  ['null', { origin: 'null' }],
  ['none', {}],
  ['a look-alike', { origin: 'http://127.0.0.1.evil.example' }],
  ['another port', { origin: 'http://127.0.0.1:1' }],
  ['a rebound name', { origin: 'http://evil.example', headers: { Host: 'evil.example' } }],
])('the panel’s socket refuses an origin: %s', async (_, options) => {
  const socket = new WebSocket(`${comfy.url.replace('http', 'ws')}/api/envmanager/ws`, options)
  const status = await new Promise((done) => {
    socket.once('unexpected-response', (_request, response) => done(response.statusCode))
    socket.once('open', () => done('open'))
    socket.once('error', (error) => done(error.message))
  })
  expect(status).toBe(403)
})
