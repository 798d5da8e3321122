import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { bridgePid, startComfy, type Comfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { updatesOf } from '../support/packUpdates.ts'
import { forgetResults, run, type Prompt } from '../support/prompts.ts'

/** The files of an isolated pack change: what runs is the pack as it is now, as it would inside ComfyUI, or a sentence says why not. */

const PACK = 'changing-pack'
let comfy: Comfy
let panel: PanelClient

const file = (...path: string[]): string => join(comfy.base, 'custom_nodes', PACK, ...path)

async function start(base?: string): Promise<void> {
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: base === undefined ? [PACK] : [], ...(base !== undefined && { base }) })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id }) => id === PACK), PACK)
}

async function restart(): Promise<void> {
  panel.close()
  await comfy.stop()
  await start(comfy.base)
}

beforeEach(async () => {
  await start()
  await panel.call('isolation.set', { pack: PACK, on: true })
  if ((await said()) !== 'first 3') throw new Error('the pack does not run')
})

afterEach(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
})

const prompt = (cls: string, inputs: Record<string, unknown>): Prompt => ({
  '1': { class_type: cls, inputs },
  '2': { class_type: 'PreviewAny', inputs: { source: ['1', 0] } },
})

/** What a run shows, or what is said instead: by the node, or by ComfyUI's checks. */
async function said(cls = 'ChangingScale', inputs: Record<string, unknown> = { value: 3 }): Promise<string> {
  await forgetResults(comfy.url)
  try {
    const { outputs, error } = await run(comfy.url, prompt(cls, inputs))
    return String(outputs['2']?.text?.[0] ?? error.exception_message)
  } catch (error) {
    return String(error)
  }
}

const known = async (cls: string): Promise<Record<string, unknown> | undefined> =>
  ((await (await fetch(`${comfy.url}/api/object_info`)).json()) as Record<string, Record<string, unknown>>)[cls]

async function isolated(): Promise<boolean> {
  return (await panel.snapshot()).packs.some(({ id, isolation }) => id === PACK && isolation.state !== 'off')
}

const { edit, nodes, UPDATES } = updatesOf(file)

describe.each(Object.entries(UPDATES))('%s', (name, { change, runs }) => {
  /** What is said otherwise than it must be. */
  const wrong = async (): Promise<string[]> => {
    const found: string[] = (await isolated()) ? [] : ['not isolated']
    for (const [inputs, says, cls] of runs) {
      const is = await said(cls, inputs)
      if (!says.test(is)) found.push(`${is} in place of ${String(says)}`)
    }
    return found
  }

  test('between two starts', async () => {
    panel.close()
    await comfy.stop()
    change()
    await start(comfy.base)
    expect(await wrong()).toEqual([])
    await restart()
    expect(await wrong()).toEqual([])
  })

  test('while ComfyUI runs, and the worker starts anew', async () => {
    await restart() // ComfyUI has never imported the pack
    expect(await said()).toBe('first 3')
    const before = readFileSync(file('nodes.py'), 'utf8')
    change()
    expect(await said()).toBe('first 3') // the process that runs has the old files
    await panel.call('worker.stop', { worker: `${PACK}#1` })
    const [inputs, says, cls] = runs[0] ?? [{}, /./]
    const first = await said(cls, inputs)
    // it is said once that the pack has changed, or there was nothing that the old classes do otherwise
    expect(says.test(first) || /changed on disk|SyntaxError|nowhere_to_be_found/.test(first) ? 'right' : first).toBe('right')
    await expect.poll(() => said(cls, inputs), { timeout: 20_000 }).toMatch(says)
    expect(await wrong()).toEqual([])
    if (name !== 'another result, and back') return
    writeFileSync(file('nodes.py'), before)
    await panel.call('worker.stop', { worker: `${PACK}#1` })
    await expect.poll(() => said(), { timeout: 20_000 }).toBe('first 3')
  })
})

test('what the older files have made is not kept: an equal prompt has the result of the newer ones', async () => {
  await restart()
  const equal = async (): Promise<string> => {
    const { outputs, error } = await run(comfy.url, prompt('ChangingScale', { value: 3 }))
    return String(outputs['2']?.text?.[0] ?? error.exception_message)
  }
  expect(await equal()).toBe('first 3')
  nodes((text) => text.replace('"first {value}"', '"second {value}"'))()
  await panel.call('worker.restart', { worker: `${PACK}#1` })
  await expect.poll(() => panel.exchanged, { timeout: 20_000 }).toContain(PACK)
  expect(await equal()).toBe('second 3')
})

test('switched off, a node that has run in a worker runs inside ComfyUI; switched on, in a worker again', async () => {
  await restart() // ComfyUI has never imported the pack
  const ranIn = async (value: number): Promise<string> => {
    await panel.call('worker.stop', { worker: `${PACK}#1` }).catch(() => undefined)
    const { outputs, error } = await run(comfy.url, prompt('ChangingScale', { value }))
    const started = (await panel.snapshot()).workers.some(({ packs, pid }) => packs.includes(PACK) && pid !== null)
    return `${outputs['2']?.text?.[0] ?? error.exception_message} ${started ? 'in a worker' : 'inside'}`
  }
  expect(await ranIn(1)).toBe('first 1 in a worker')
  await panel.call('isolation.set', { pack: PACK, on: false })
  expect(await ranIn(2)).toBe('first 2 inside')
  await panel.call('isolation.set', { pack: PACK, on: true })
  expect(await ranIn(3)).toBe('first 3 in a worker')
})

test('a pack that is loaded inside ComfyUI too: a sentence until ComfyUI is restarted, and no mixture', async () => {
  nodes((text) => text.replace('"first {value}"', '"second {value}"'))()
  expect(await said()).toBe('first 3')
  await panel.call('worker.stop', { worker: `${PACK}#1` })
  expect(await said()).toMatch(/changed on disk/)
  expect(await said()).toMatch(/changed on disk/)
  await restart()
  expect(await said()).toBe('second 3')
})

test('what a pack writes beside its code is no update of it: its next worker goes on', async () => {
  await said('ChangingNotes', { amount: 1 }) // here ComfyUI has imported the pack too
  await panel.call('worker.stop', { worker: `${PACK}#1` })
  expect(await said('ChangingNotes', { amount: 2 })).toBe('notes 1 2')
  await restart()
  expect(await said('ChangingNotes', { amount: 3 })).toBe('notes 1 2 3')
  await panel.until(({ packs }) => packs.some(({ id, isolation }) => id === PACK && isolation.state === 'on'), 'its first load')
  await expect.poll(() => panel.exchanged, { timeout: 20_000 }).toEqual([PACK]) // its classes have come
  await panel.call('worker.stop', { worker: `${PACK}#1` })
  expect(await said('ChangingNotes', { amount: 4 })).toBe('notes 1 2 3 4')
  expect(panel.exchanged).toEqual([PACK])
})

test('a file of data makes other classes of the same code: nothing is mixed', async () => {
  expect(await said('ChangingOutputs', { amount: 1 })).toBe('output 1 of 1') // here ComfyUI has imported the pack too
  writeFileSync(file('outputs.json'), '3')
  await panel.call('worker.stop', { worker: `${PACK}#1` })
  expect(await said('ChangingOutputs', { amount: 2 })).toMatch(/changed on disk/)
  writeFileSync(file('outputs.json'), '1')
  await restart()
  expect(await said('ChangingOutputs', { amount: 1 })).toBe('output 1 of 1')
  writeFileSync(file('outputs.json'), '2')
  await panel.call('worker.stop', { worker: `${PACK}#1` })
  expect(await said('ChangingOutputs', { amount: 2 })).toMatch(/changed on disk/)
  await expect.poll(() => said('ChangingOutputs', { amount: 3 }), { timeout: 20_000 }).toBe('output 2 of 2')
})

test('a class that a file of any kind makes is there after a start', async () => {
  mkdirSync(file('looks'))
  await restart()
  await said() // from here on its description is kept
  panel.close()
  await comfy.stop()
  writeFileSync(file('looks', 'Warm.cube'), 'LUT_3D_SIZE 2\n')
  await start(comfy.base)
  await expect.poll(() => known('ChangingWarm'), { timeout: 30_000 }).toBeDefined() // before anything has run
  expect(await said('ChangingWarm', { value: 4 })).toBe('first 4')
})

test('changed while ComfyUI runs and then switched on: a sentence until ComfyUI is restarted', async () => {
  await panel.call('isolation.set', { pack: PACK, on: false })
  await restart()
  nodes((text) => text.replace('"first {value}"', '"second {value}"'))()
  expect(await said()).toBe('first 3')
  await panel.call('isolation.set', { pack: PACK, on: true })
  expect(await said()).toMatch(/changed on disk/)
  await restart()
  expect(await said()).toBe('second 3')
})

test('a description of another release of ours counts for nothing: the pack is loaded anew', async () => {
  const kept = join(comfy.home, 'classes', `${PACK}.json`)
  panel.close()
  await comfy.stop()
  const older = JSON.parse(readFileSync(kept, 'utf8')) as { classes: Record<string, unknown>[]; key: string }
  for (const cls of older.classes) delete cls.display_name
  writeFileSync(kept, JSON.stringify({ ...older, key: 'another' }))
  await start(comfy.base)
  expect(await said()).toBe('first 3')
})

test.each([
  ['no object', '[]'],
  ['odd parts', '{"isolated": 5, "classes": [1], "nodes": null}'],
  ['no text', '\xff\xfe'],
])('state.json with %s: ComfyUI starts, and the pack runs inside it', async (_kind, text) => {
  panel.close()
  await comfy.stop()
  writeFileSync(join(comfy.home, 'state.json'), text, 'latin1')
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], base: comfy.base })
  expect(await known('ChangingScale')).toBeDefined()
  panel = await PanelClient.connect(comfy.url)
})

test('the folder that holds the packs is another: ComfyUI starts, with the web folder where it is now', async () => {
  panel.close()
  await comfy.stop()
  const moved = `${comfy.base}-moved`
  renameSync(comfy.base, moved)
  try {
    comfy = { ...(await startComfy({ frontend: FRONTENDS[0], packs: [], base: moved })) }
    panel = await PanelClient.connect(comfy.url)
    await expect.poll(() => said(), { timeout: 30_000 }).toBe('first 3')
    const extensions = (await (await fetch(`${comfy.url}/api/extensions`)).json()) as string[]
    expect(extensions).toContain(`/extensions/${PACK}/changing.js`)
  } finally {
    panel.close()
    await comfy.stop()
    rmSync(moved, { recursive: true, force: true })
  }
})

test('what a worker says of its pack cannot be kept: the bridge goes on, and says so', async () => {
  const kept = join(comfy.home, 'classes')
  rmSync(kept, { recursive: true })
  writeFileSync(kept, 'in its place')
  const bridge = bridgePid(comfy.home)
  await panel.call('worker.restart', { worker: `${PACK}#1` })
  expect(await said()).toBe('first 3')
  await panel.until(({ host }) => host.problems.some((text) => text.includes('is not kept for ComfyUI’s next start')), 'the problem')
  expect(bridgePid(comfy.home)).toBe(bridge)
})

test('a pack with a name of ComfyUI’s own is not taken for changed whenever its worker starts', async () => {
  edit('nodes.py', (text) => text.replace('NODE_CLASS_MAPPINGS = {', 'NODE_CLASS_MAPPINGS = {"EmptyImage": ChangingOther, '))
  await restart()
  expect(await said()).toBe('first 3')
  await panel.call('worker.restart', { worker: `${PACK}#1` })
  expect(await said()).toBe('first 3')
  expect(comfy.output()).not.toContain('are others now')
})

test('switched off and on again: ComfyUI has the new files from then on', async () => {
  await restart()
  nodes((text) => text.replace('"first {value}"', '"second {value}"'))()
  await panel.call('isolation.set', { pack: PACK, on: false })
  expect(await said()).toBe('second 3')
  await panel.call('isolation.set', { pack: PACK, on: true })
  expect(await said()).toBe('second 3')
})
