/** Cancel while a node shows its progress: ComfyUI's progress hook takes the user's wish back as it raises. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Comfy } from '../support/comfy.ts'
import { startWithPacks } from '../support/ownPacks.ts'
import type { PanelClient } from '../support/panelClient.ts'
import { until } from '../support/processes.ts'
import { finished, queue, run } from '../support/prompts.ts'

const code = (prefix: string): string => `import os, time
import comfy.utils, folder_paths
def note(name):
    with open(os.path.join(folder_paths.get_output_directory(), name), "w") as file: file.write("x")
class Base:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"turn": ("INT", {})}}
class Shows(Base):
    "Shows a step every few milliseconds, for a minute."
    def run(self, turn):
        bar, end = comfy.utils.ProgressBar(1000), time.monotonic() + 60
        note(f"begun-{turn}")
        while time.monotonic() < end:
            time.sleep(0.01 + turn % 5 / 100)
            bar.update(1)
        return {"ui": {"text": ["whole"]}}
class Short(Base):
    "Shows one step and returns, while another node keeps ComfyUI busy."
    def run(self, turn):
        note(f"begun-{turn}")
        while not os.path.exists(os.path.join(folder_paths.get_output_directory(), f"blocked-{turn}")): time.sleep(0.01)
        time.sleep(0.2)
        comfy.utils.ProgressBar(10).update_absolute(10, 10)
        note(f"shown-{turn}")
        return {"ui": {"text": ["whole"]}}
class Blocks(Base):
    def run(self, turn):
        note(f"blocked-{turn}")
        time.sleep(1)
        return {"ui": {"text": ["blocked"]}}
NODE_CLASS_MAPPINGS = {"${prefix}" + cls.__name__: cls for cls in (Shows, Short, Blocks)}
`

let comfy: Comfy
let panel: PanelClient
let turn = 0
beforeAll(async () => {
  ;({ comfy, panel } = await startWithPacks({ shows: { '__init__.py': code('There') }, here: { '__init__.py': code('Here') } }))
  await panel.call('isolation.set', { pack: 'shows', on: true })
  await run(comfy.url, { '1': { class_type: 'ThereBlocks', inputs: { turn: ++turn } } }) // its worker is up
})
afterAll(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
})

const isThere = (name: string) => (): boolean => existsSync(join(comfy.base, 'output', name))
/** One click, as in the browser. */
const cancel = (id: string): Promise<unknown> => fetch(`${comfy.url}/api/interrupt`, { method: 'POST', body: JSON.stringify({ prompt_id: id }) })

test('one Cancel ends a node that shows its progress, whenever it comes', async () => {
  const ends: string[] = []
  for (let round = 0; round < 10; round++) {
    const id = await queue(comfy.url, { '1': { class_type: 'ThereShows', inputs: { turn: ++turn } } })
    await until('the node', isThere(`begun-${turn}`))
    await pause(50 + round * 17)
    await cancel(id)
    ends.push((await finished(comfy.url, id, 20_000)).end)
  }
  expect(ends).toEqual(Array(10).fill('execution_interrupted'))
})

test.each([['1', '2'], ['2', '1']])('a step of progress that is heard after a Cancel takes no answer with it: node %s isolated, %s in ComfyUI', async (isolated, inside) => {
  turn++
  const id = await queue(comfy.url, { [isolated]: { class_type: 'ThereShort', inputs: { turn } }, [inside]: { class_type: 'HereBlocks', inputs: { turn } } })
  await until('both', () => isThere(`begun-${turn}`)() && isThere(`blocked-${turn}`)())
  await cancel(id)
  const { end } = await finished(comfy.url, id, 20_000)
  expect(['execution_success', 'execution_interrupted']).toContain(end)
  expect((await run(comfy.url, { '1': { class_type: 'ThereBlocks', inputs: { turn: ++turn } } })).end).toBe('execution_success')
})
