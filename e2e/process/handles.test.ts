import { readFileSync, rmSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { bridgePid, startComfy, type Comfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { isAlive, until } from '../support/processes.ts'
import { finished, queue, run, type Outcome, type Prompt } from '../support/prompts.ts'
import { TIMES } from '../support/rounds.ts'

/**
 * Objects that stay in a worker, of which ComfyUI keeps handles: when the worker has ended, the nodes that made them run again by
 * themselves, and nothing else does.
 */

let comfy: Comfy
let panel: PanelClient
let number = 0

async function start(args: string[] = [], env: Record<string, string> = {}): Promise<void> {
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: ['handle-maker', 'value-host'], args, env })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, state }) => id === 'handle-maker' && state === 'ready'), 'handle-maker')
  await isolate(true)
}

const isolate = (on: boolean): Promise<unknown> => panel.call('isolation.set', { pack: 'handle-maker', on })

afterEach(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
})

const SHAPES: Record<string, Prompt> = {
  'one node down': { '1': { class_type: 'HandleMake', inputs: { seed: 7 } }, '9': { class_type: 'HandleUse', inputs: { thing: ['1', 0] } } },
  'three nodes down': {
    '1': { class_type: 'HandleMake', inputs: { seed: ['5', 0] } },
    '2': { class_type: 'HandleNext', inputs: { thing: ['1', 0] } },
    '3': { class_type: 'HandleNext', inputs: { thing: ['2', 0] } },
    '5': { class_type: 'HandleSeed', inputs: { seed: 5 } },
    '9': { class_type: 'HandleUse', inputs: { thing: ['3', 0] } },
  },
  'in a list': {
    '1': { class_type: 'HandleMake', inputs: { seed: 7 } },
    '2': { class_type: 'HandleList', inputs: { thing: ['1', 0] } },
    '9': { class_type: 'HandleUse', inputs: { thing: ['2', 0] } },
  },
  'in a dict in a list': {
    '1': { class_type: 'HandleMake', inputs: { seed: 7 } },
    '2': { class_type: 'HandleDict', inputs: { thing: ['1', 0] } },
    '9': { class_type: 'HandleUse', inputs: { thing: ['2', 0] } },
  },
}
for (const how of ['a namespace', 'a queue', 'a key', 'an attribute of a tensor']) {
  SHAPES[`in ${how}`] = {
    '1': { class_type: 'HandleMake', inputs: { seed: 7 } },
    '2': { class_type: 'HandleHold', inputs: { thing: ['1', 0], how } },
    '9': { class_type: 'HandleTakeOut', inputs: { held: ['2', 0] } },
  }
}
for (const how of ['a module', 'a sparse tensor']) {
  SHAPES[`of torch: ${how}`] = { '1': { class_type: 'HandleTorch', inputs: { seed: 7, how } }, '9': { class_type: 'HandleUse', inputs: { thing: ['1', 0] } } }
}
SHAPES['in an object of ComfyUI'] = {
  '1': { class_type: 'HandleMake', inputs: { seed: 7 } },
  '2': { class_type: 'ValueBox', inputs: { value: ['1', 0] } },
  '3': { class_type: 'ValueBox', inputs: { value: ['2', 0] } },
  '9': { class_type: 'HandleUse', inputs: { thing: ['3', 0] } },
}
/** The nodes that must run once more when their objects are gone: those that made one or hold one, and the last. */
const AGAIN: Record<string, string[]> = {
  'one node down': ['HandleMake', 'HandleUse'],
  'three nodes down': ['HandleMake', 'HandleNext', 'HandleNext', 'HandleUse'],
  'in a list': ['HandleMake', 'HandleList', 'HandleUse'],
  'in a dict in a list': ['HandleMake', 'HandleDict', 'HandleUse'],
  'in an object of ComfyUI': ['HandleMake', 'HandleUse'],
}
for (const how of ['a namespace', 'a queue', 'a key', 'an attribute of a tensor']) AGAIN[`in ${how}`] = ['HandleMake', 'HandleHold', 'HandleTakeOut']
for (const how of ['a module', 'a sparse tensor']) AGAIN[`of torch: ${how}`] = ['HandleTorch', 'HandleUse']
/** The last node of a shape. */
const last = (shape: string): string => SHAPES[shape]?.['9']?.class_type ?? ''

/** The last node has another number at each run, so that it is not kept. */
function used(shape: string): Prompt {
  const { '9': end, ...others } = structuredClone(SHAPES[shape]) as Prompt & { '9': Prompt[string] }
  return { ...others, '9': { ...end, inputs: { ...end.inputs, number: ++number } }, '10': { class_type: 'PreviewAny', inputs: { source: ['9', 0] } } }
}

const runsFile = (): string => join(comfy.base, 'output', 'runs.log')

/** The nodes of the pack that have run since it was last asked. */
function ranNodes(): string[] {
  const lines = existsSync(runsFile()) ? readFileSync(runsFile(), 'utf8').trim().split('\n').filter(Boolean) : []
  rmSync(runsFile(), { force: true })
  return lines
}

const saidOf = ({ outputs, error }: Outcome): string => String(outputs['10']?.text?.[0] ?? error.exception_message)

async function use(shape: string): Promise<string[]> {
  const said = saidOf(await run(comfy.url, used(shape)))
  expect(`${shape}: ${said}`).toBe(`${shape}: 7 ${number}`)
  return ranNodes()
}

async function worker(): Promise<{ id: string; pid: number }> {
  const found = (await panel.snapshot()).workers.find(({ packs }) => packs.includes('handle-maker'))
  if (!found?.pid) throw new Error('no worker')
  return { id: found.id, pid: found.pid }
}

/** Ends the worker and waits until ComfyUI's side can know. */
async function kill(): Promise<void> {
  const { pid } = await worker()
  process.kill(pid, 'SIGKILL')
  await panel.until(({ workers }) => workers.every((one) => one.pid !== pid), 'its end')
}

async function killBridge(): Promise<void> {
  const bridge = bridgePid(comfy.home)
  if (bridge === null) throw new Error('no bridge')
  process.kill(bridge, 'SIGKILL')
  await until('the bridge to end', () => !isAlive(bridge), 5000)
  await until('a new bridge', () => ![null, bridge].includes(bridgePid(comfy.home)), 20_000)
  panel.close()
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, isolation }) => id === 'handle-maker' && isolation.state === 'on'), 'the pack')
}

/** After three crashes in five minutes a worker stays down until the user restarts it. */
async function forgiven(shape: string): Promise<void> {
  await panel.call('worker.restart', { worker: (await worker()).id })
  await use(shape)
}

const ENDS: Record<string, () => Promise<unknown>> = {
  'kill -9': kill,
  'the restart button': async () => panel.call('worker.restart', { worker: (await worker()).id }),
  'the stop button': async () => panel.call('worker.stop', { worker: (await worker()).id }),
  'switched off and on': async () => {
    await isolate(false)
    await isolate(true)
  },
  'the bridge killed': killBridge,
}

const TORCH = Object.keys(SHAPES).filter((shape) => shape.startsWith('of torch'))

test.each(TORCH)('an object %s is made again where its nodes run now', async (shape) => {
  await start()
  for (const on of [true, false, true]) {
    await isolate(on)
    expect(await use(shape)).toEqual(AGAIN[shape])
    expect(await use(shape)).toEqual([last(shape)])
  }
})

describe.each(Object.keys(SHAPES).filter((shape) => !TORCH.includes(shape)))('an object %s', (shape) => {
  test(`is made again after its worker has ended, in whatever way`, async () => {
    await start()
    await use(shape)
    expect(await use(shape)).toEqual([last(shape)])
    for (const [way, end] of Object.entries(ENDS)) {
      for (let round = 0; round < TIMES; round++) {
        await forgiven(shape)
        await end()
        expect([way, ...(await use(shape))]).toEqual([way, ...(AGAIN[shape] ?? [])])
      }
    }
    if (shape === 'in an object of ComfyUI') return // where nodes run now, nobody can see in it
    // and it works inside ComfyUI too, and back again
    await isolate(false)
    expect(await use(shape)).toEqual(AGAIN[shape])
    expect(await use(shape)).toEqual([last(shape)])
    await isolate(true)
    expect(await use(shape)).toEqual(AGAIN[shape])
  })
})

test('a worker that ends while its prompt runs: what was not sent waits for the object to be made again', async () => {
  await start()
  await use('three nodes down')
  for (let round = 0; round < TIMES; round++) {
    await forgiven('three nodes down')
    const id = await queue(comfy.url, {
      '1': { class_type: 'HandleMake', inputs: { seed: ['5', 0] } },
      '2': { class_type: 'HandleNext', inputs: { thing: ['1', 0] } },
      '5': { class_type: 'HandleSeed', inputs: { seed: 6 } },
      '6': { class_type: 'ValueSleep', inputs: { after: ['2', 0], seconds: 1.5, number: round } },
      '8': { class_type: 'HandleUse', inputs: { thing: ['1', 0], number: ['6', 0] } },
      '9': { class_type: 'HandleUse', inputs: { thing: ['2', 0], number: ['6', 0] } },
      '11': { class_type: 'PreviewAny', inputs: { source: ['8', 0] } },
      '10': { class_type: 'PreviewAny', inputs: { source: ['9', 0] } },
    })
    await until('the object to be made', () => existsSync(runsFile()) && readFileSync(runsFile(), 'utf8').includes('HandleNext'), 10_000)
    await kill()
    const outcome = await finished(comfy.url, id)
    expect([saidOf(outcome), outcome.outputs['11']?.text?.[0]]).toEqual([`7 ${round}`, `6 ${round}`])
    expect(ranNodes().toSorted()).toEqual(['HandleMake', 'HandleMake', 'HandleNext', 'HandleNext', 'HandleSeed', 'HandleUse', 'HandleUse'])
  }
})

test('a worker that holds objects which ComfyUI keeps is not idle; without any it ends, and what is needed is made again', async () => {
  await start([], { COMFY_ENV_IDLE_MINUTES: '0.02' })
  await use('one node down')
  const { pid } = await worker()
  await new Promise((done) => setTimeout(done, 7000)) // two looks for idle workers: nothing can be waited for where nothing happens
  expect((await worker()).pid).toBe(pid)
  expect(await use('one node down')).toEqual(['HandleUse'])
  await fetch(`${comfy.url}/api/free`, { method: 'POST', body: JSON.stringify({ unload_models: true, free_memory: true }) })
  await panel.until(({ workers }) => workers.every((one) => one.pid === null), 'the idle worker to end', 30_000)
  expect(await use('one node down')).toEqual(['HandleMake', 'HandleUse'])
})

test.each([['--cache-none'], ['--cache-lru', '10']])('with %s too', async (...args) => {
  await start(args)
  for (const shape of Object.keys(SHAPES)) {
    await use(shape)
    await forgiven(shape)
    await kill()
    // with none, all that the last node needs runs each time, as it does inside ComfyUI
    expect(await use(shape)).toEqual(expect.arrayContaining(AGAIN[shape] ?? []))
  }
})
