import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { PYTHON } from '../../scripts/devPython.ts'
import { again, againOfOne, ALL_SHAPES, TORCH_SHAPES, everything, Keeper, last, saidOf } from '../support/handles.ts'
import { until } from '../support/processes.ts'
import { finished, queue } from '../support/prompts.ts'
import { TIMES } from '../support/rounds.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

/**
 * Objects that stay in a worker, of which ComfyUI keeps handles: when the worker has ended, the nodes that made them run again by
 * themselves, and nothing else does.
 */

let index: WheelIndex
let keeper: Keeper | null = null

beforeAll(async () => {
  index = await startWheelIndex(PYTHON)
})
afterAll(() => index.close())
afterEach(async () => {
  await keeper?.end()
  keeper = null
})

const start = async (options: Parameters<typeof Keeper.start>[0] = {}): Promise<Keeper> => (keeper = await Keeper.start(options))

interface Way {
  end: (it: Keeper) => Promise<unknown>
  /** In so many of four rounds. */
  often: 1 | 4
  /** What runs again afterwards. */
  runs: (shapes: string[]) => string[]
}
// the worker is killed no more than twice before something forgives it: after three crashes in five minutes it stays down
const WAYS: Record<string, Way> = {
  'kill -9': { end: (it) => it.kill(), often: 4, runs: again },
  idle: { end: (it) => it.idle(), often: 4, runs: everything },
  'the restart button': { end: (it) => it.restart(), often: 1, runs: again },
  'the stop button': { end: (it) => it.stop(), often: 1, runs: again },
  'switched off and on': { end: (it) => it.switchOffAndOn(), often: 1, runs: again },
  'the bridge killed': { end: (it) => it.killBridge(), often: 1, runs: again },
  repaired: { end: (it) => it.repair(), often: 1, runs: again },
  undone: { end: (it) => it.undo(), often: 1, runs: again },
}

/** Ends the worker in every way, so many times over; how often each was made good. */
async function endAll(it: Keeper, shapes: string[], rounds: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (let round = 0; round < rounds; round++) {
    for (const [way, { end, often, runs }] of Object.entries(WAYS)) {
      if (often === 1 && round % 4 > 0) continue
      const before = (await it.use(shapes)).join()
      if (before !== last(shapes).join()) throw new Error(`before ${way}, round ${round + 1}: ${before} have run, and not ${last(shapes).join()}\n${it.journal()}`)
      await end(it)
      const ran = (await it.use(shapes)).join()
      if (ran !== runs(shapes).join()) throw new Error(`${way}, round ${round + 1}: ${ran} have run, and not ${runs(shapes).join()}\n${it.journal()}`)
      counts[way] = (counts[way] ?? 0) + 1
    }
  }
  return counts
}

/** Each way so often. */
const planned = (rounds: number): Record<string, number> => Object.fromEntries(Object.entries(WAYS).map(([way, { often }]) => [way, Math.ceil((rounds * often) / 4)]))

describe.each(ALL_SHAPES)('an object %s', (shape) => {
  test(`is made again after its worker has ended, in whatever way`, async () => {
    const it = await start({ index })
    await it.use([shape])
    expect(await endAll(it, [shape], 1)).toEqual(planned(1))
    // and it works inside ComfyUI too, and back again
    await it.isolate(false)
    expect(await it.useInside([shape])).toEqual(again([shape]))
    expect(await it.useInside([shape])).toEqual(last([shape]))
    await it.isolate(true)
    expect(await it.use([shape])).toEqual(again([shape]))
  })
})

test.each(TORCH_SHAPES)('an object %s is made again where its nodes run now', async (shape) => {
  const it = await start()
  for (const on of [true, false, true]) {
    await it.isolate(on)
    const use = (): Promise<string[]> => (on ? it.use([shape]) : it.useInside([shape]))
    expect(await use()).toEqual(again([shape]))
    expect(await use()).toEqual(last([shape]))
  }
})

test('objects in all these shapes in one prompt, again and again', async () => {
  const it = await start({ index })
  await it.use(ALL_SHAPES)
  const counts = await endAll(it, ALL_SHAPES, TIMES)
  console.log(`of ${ALL_SHAPES.length} shapes: ${JSON.stringify(counts)}`)
  expect(counts).toEqual(planned(TIMES))
})

test('an update of a pack: its objects are made anew, and all that the older files have made', async () => {
  const it = await start({ index, apart: true })
  for (let round = 0; round < Math.ceil(TIMES / 4); round++) {
    await it.use(ALL_SHAPES)
    expect(await it.use(ALL_SHAPES)).toEqual(last(ALL_SHAPES))
    await it.update()
    expect(await it.use(ALL_SHAPES)).toEqual(everything(ALL_SHAPES))
  }
})

test('objects of makers that are equal, whatever their nodes are called: ComfyUI keeps one output for all', async () => {
  const it = await start()
  await it.use(ALL_SHAPES, { equal: true })
  for (const end of [() => it.kill(), () => it.restart()]) {
    for (const first of [0, 50]) {
      expect(await it.use(ALL_SHAPES, { equal: true })).toEqual(last(ALL_SHAPES))
      await end()
      expect(await it.use(ALL_SHAPES, { equal: true, first })).toEqual(againOfOne(ALL_SHAPES))
    }
  }
})

test('prompts that run while the pack is moved to another process do not notice; one that is underway when its files change may be told so', async () => {
  const it = await start({ index, apart: true })
  await it.use(ALL_SHAPES)
  let told = 0
  for (const [way, end] of Object.entries({ repaired: () => it.repair(), undone: () => it.undo(), updated: () => it.update(), switched: () => it.switchOffAndOn() })) {
    const state = { ended: false }
    const ending = end().finally(() => (state.ended = true))
    let prompts = 0
    do {
      const ran = await it.use(ALL_SHAPES, { edition: null }).catch((error: unknown) => {
        if (way !== 'updated' || !String(error).includes('has changed on disk since ComfyUI loaded it') || ++told > 1) throw new Error(`${way}: ${String(error)}`)
        return last(ALL_SHAPES)
      })
      expect(ran).toEqual(expect.arrayContaining(last(ALL_SHAPES)))
      prompts++
    } while (!state.ended)
    await ending
    console.log(`${way}: ${prompts} prompts meanwhile`)
    await it.use(ALL_SHAPES)
  }
})

test('a worker that ends while its prompt runs: what was not sent waits for the object to be made again', async () => {
  const it = await start()
  const { panel, comfy } = it
  await it.use(['three nodes down'])
  for (let round = 0; round < TIMES; round++) {
    await panel.call('worker.stop', { worker: (await it.worker()).id }) // after three crashes in five minutes it would stay down
    await it.use(['three nodes down'])
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
    await until('the object to be made', () => existsSync(it.runsFile) && readFileSync(it.runsFile, 'utf8').includes('HandleNext'), 10_000)
    await it.kill()
    const outcome = await finished(comfy.url, id)
    expect([saidOf(outcome), outcome.outputs['11']?.text?.[0]]).toEqual([`7 ${round} edition 1`, `6 ${round} edition 1`])
    expect(it.ranNodes().toSorted()).toEqual(['HandleMake', 'HandleMake', 'HandleNext', 'HandleNext', 'HandleSeed', 'HandleUse', 'HandleUse'])
  }
})

test('a worker that holds objects which ComfyUI keeps is not idle; without any it ends', async () => {
  const it = await start({ env: { COMFY_ENV_IDLE_MINUTES: '0.02' } })
  await it.use(['one node down'])
  const { pid } = await it.worker()
  await new Promise((done) => setTimeout(done, 7000)) // two looks for idle workers: nothing can be waited for where nothing happens
  expect((await it.worker()).pid).toBe(pid)
  expect(await it.use(['one node down'])).toEqual(['HandleUse'])
  await fetch(`${it.comfy.url}/api/free`, { method: 'POST', body: JSON.stringify({ unload_models: true, free_memory: true }) })
  await it.panel.until(({ workers }) => workers.every((one) => one.pid === null), 'the idle worker to end', 30_000)
  expect(await it.use(['one node down'])).toEqual(['HandleMake', 'HandleUse'])
})

/** Whether the ComfyUI of the tests keeps outputs as long as there is memory (0.33, and there it is what it does unless told otherwise). */
const hasRam = process.env.COMFYUI_DIR !== undefined && readFileSync(join(process.env.COMFYUI_DIR, 'comfy', 'cli_args.py'), 'utf8').includes('"--cache-ram"')
const CACHES = [['--cache-classic'], ['--cache-lru', '100'], ['--cache-none'], ...(hasRam ? [['--cache-ram']] : [])]

test.each(CACHES)('with %s too', async (...args) => {
  const it = await start({ args })
  // with none, all that the last node needs runs each time, as it does inside ComfyUI
  const ran = args[0] === '--cache-none' ? everything(ALL_SHAPES) : again(ALL_SHAPES)
  await it.use(ALL_SHAPES)
  for (const end of [() => it.kill(), () => it.restart()]) {
    await end()
    expect(await it.use(ALL_SHAPES)).toEqual(ran)
  }
})
