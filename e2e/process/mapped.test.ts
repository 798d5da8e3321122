import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { run } from '../support/prompts.ts'

/** A node that ComfyUI runs for each item of a list: one after the other, in their order, and none after one that failed, isolated as inside. */

const PACK = `
import os
import time
import folder_paths

class MappedList:
    RETURN_TYPES, OUTPUT_IS_LIST, FUNCTION, CATEGORY = ("*",), (True,), "run", "tests"
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"large": ("INT", {"default": 0}), "count": ("INT", {"default": 8}), "turn": ("INT", {"default": 0})}}
    def run(self, large, count, turn):
        return ([{f"key {i}": "x" * 10 for i in range(20_000)} if at == large else at for at in range(count)],)

class MappedCount:
    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING",), "run", "tests"
    def __init__(self):
        self.calls = 0
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"item": ("*",), "bad": ("INT", {"default": -1})}}
    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True
    def run(self, item, bad):
        self.calls += 1
        what = "large" if isinstance(item, dict) else str(item)
        with open(os.path.join(folder_paths.get_output_directory(), "mapped.log"), "a") as file:
            file.write(what + "\\n")
        if bad >= 0:
            time.sleep(0.1)
        if item == bad:
            raise ValueError("a bad item")
        return (f"{self.calls}: {what}",)

NODE_CLASS_MAPPINGS = {cls.__name__: cls for cls in (MappedList, MappedCount)}
`

let folder: string
let comfy: Comfy
let panel: PanelClient
let turn = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'envmanager-mapped-'))
  mkdirSync(join(folder, 'mapped'))
  writeFileSync(join(folder, 'mapped', '__init__.py'), PACK)
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [join(folder, 'mapped')] })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, reason }) => id === 'mapped' && reason !== 'Being checked.'), 'the pack')
})
afterAll(async () => {
  panel.close()
  await comfy.stop()
  comfy.remove()
  rmSync(folder, { recursive: true, force: true })
})

/** The items that have run since the last prompt of `mapped` began. */
const ran = (): string[] => (existsSync(log()) ? readFileSync(log(), 'utf8').trim().split('\n') : [])
const log = (): string => join(comfy.base, 'output', 'mapped.log')

/** What each item gave, or the error; and the items that have run. */
async function mapped(large: number, bad: number): Promise<{ said: unknown; ran: string[] }> {
  rmSync(log(), { force: true })
  const { outputs, error } = await run(comfy.url, {
    '1': { class_type: 'MappedList', inputs: { large, count: 8, turn: ++turn } },
    [`2${turn}`]: { class_type: 'MappedCount', inputs: { item: ['1', 0], bad } },
    '3': { class_type: 'PreviewAny', inputs: { source: [`2${turn}`, 0] } },
  })
  return { said: outputs['3']?.text ?? error.exception_message, ran: ran() }
}

describe.each([false, true])('isolated: %s', (on) => {
  beforeAll(async () => {
    if (on) await panel.call('isolation.set', { pack: 'mapped', on })
    await mapped(-1, -1)
  })

  test('items run in their order, also where one is so large that it goes another way', async () => {
    for (const large of [0, 3, 7]) {
      const names = Array.from({ length: 8 }, (_, at) => (at === large ? 'large' : String(at)))
      expect(await mapped(large, -1)).toEqual({ said: names.map((name, at) => `${at + 1}: ${name}`), ran: names })
    }
  })

  test('none runs after one that has failed', async () => {
    expect((await mapped(-1, 2)).said).toContain('a bad item')
    await run(comfy.url, { '1': { class_type: 'MappedList', inputs: { large: -1, count: 1, turn: ++turn } }, '2': { class_type: 'PreviewAny', inputs: { source: ['1', 0] } } })
    expect(ran()).toEqual(['0', '1', '2']) // a worker does what it was sent in order: nothing of the prompt before was waiting
    expect((await mapped(-1, -1)).ran).toHaveLength(8)
  })
})
