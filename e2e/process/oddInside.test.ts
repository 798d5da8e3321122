/** What packs inside ComfyUI leave behind or ask for hinders neither its start nor isolated packs. */
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { bridgePid, type Comfy } from '../support/comfy.ts'
import { startWithFiles } from '../support/ownPacks.ts'
import { PanelClient } from '../support/panelClient.ts'
import { run } from '../support/prompts.ts'

const ISOLATED = `import os
class Fine:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"turn": ("INT", {})}}
    def run(self, turn):
        import folder_paths
        return {"ui": {"text": [f"{turn} " + str(sorted(name for name in map(str, folder_paths.folder_names_and_paths) if name.startswith("odd")))]}}
NODE_CLASS_MAPPINGS = {"Fine": Fine}
`
const ODD: Record<string, string> = {
  'entries of model folders that are none': `import folder_paths
table = folder_paths.folder_names_and_paths
table["odd-three"] = (["/tmp/x"], {".pt"}, "third")
table["odd-none"] = (["/tmp/x"], None)
table["odd-text"] = "/tmp/x"
table["odd-number"] = 5
table[7] = (["/tmp/x"], {".pt"})
NODE_CLASS_MAPPINGS = {}
`,
  'names of classes that are no text': `class Live:
    RETURN_TYPES, FUNCTION, CATEGORY = (), "run", "tests"
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"model": ("MODEL",)}}
    def run(self, model): return ()
NODE_CLASS_MAPPINGS = {5: Live, "Other": Live}
`,
  'inputs that end the process': `class Ends:
    RETURN_TYPES, FUNCTION, CATEGORY = (), "run", "tests"
    @classmethod
    def INPUT_TYPES(cls): raise SystemExit(3)
    def run(self): return ()
NODE_CLASS_MAPPINGS = {"Ends": Ends}
`,
  'inputs that never come': `import threading
class Never:
    RETURN_TYPES, FUNCTION, CATEGORY = (), "run", "tests"
    @classmethod
    def INPUT_TYPES(cls): threading.Event().wait()
    def run(self): return ()
NODE_CLASS_MAPPINGS = {"Never": Never}
`,
}

let comfy: Comfy | undefined
afterEach(async () => {
  await comfy?.stop()
  comfy?.remove()
  comfy = undefined
})

test.each(Object.entries(ODD))('%s: ComfyUI starts, isolated nodes run, and run again when the bridge was killed', async (_, odd) => {
  comfy = await startWithFiles({ odd: { '__init__.py': odd }, fine: { '__init__.py': ISOLATED } }, ['fine'])
  const text = async (turn: number): Promise<unknown> => {
    const { outputs, error } = await run((comfy as Comfy).url, { '1': { class_type: 'Fine', inputs: { turn } } })
    return error.exception_message ?? outputs['1']?.text
  }
  const says = (turn: number) => [expect.stringMatching(`^${turn} `)]
  expect(await text(1)).toEqual(says(1))
  const pid = bridgePid(join(comfy.base, 'user', '__envmanager'), comfy.process.pid)
  process.kill(pid as number, 'SIGKILL')
  await expect.poll(() => bridgePid(join((comfy as Comfy).base, 'user', '__envmanager'), comfy?.process.pid), { timeout: 20_000 }).not.toBe(pid)
  await expect.poll(() => text(2), { timeout: 20_000 }).toEqual(says(2))
  if (odd.includes('Event')) return // which packs there are is told when they have answered
  const panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => ['odd', 'fine'].every((name) => packs.some(({ id, loaded }) => id === name && loaded !== 'no')), 'both packs')
  panel.close()
})
