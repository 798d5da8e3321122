/** What ComfyUI's loader does for a pack, done for one that it never imports. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Comfy } from '../support/comfy.ts'
import { startWithPacks } from '../support/ownPacks.ts'
import type { PanelClient } from '../support/panelClient.ts'
import { run } from '../support/prompts.ts'

const CODE = `import os
import model_management  # as ComfyUI's own modules see it
class WebNode:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"value": ("INT", {})}}
    def run(self, value):
        return {"ui": {"text": [os.environ.get("COMFYUI_ISOLATION_WORKER", "inside") + str(hasattr(model_management, "processing_interrupted"))]}}
NODE_CLASS_MAPPINGS = {"WebNode": WebNode}
`
const PROJECT = `[project]
name = "a-project"
version = "1.0.0"
[tool.comfy]
web = "web2"
`

describe.each([true, false])('isolated: %s', (isolated) => {
  let comfy: Comfy
  let panel: PanelClient
  beforeAll(async () => {
    const files = { '__init__.py': CODE, 'pyproject.toml': PROJECT, 'web2/widget.js': 'export const widget = 1\n' }
    ;({ comfy, panel } = await startWithPacks({ webby: files }, isolated ? ['webby'] : []))
  })
  afterAll(async () => {
    panel.close()
    await comfy.stop()
    comfy.remove()
  })

  test('ComfyUI’s modules are found by their bare names', async () => {
    const { outputs, error } = await run(comfy.url, { '1': { class_type: 'WebNode', inputs: { value: 1 } } })
    expect([error.exception_message, outputs['1']?.text]).toEqual([undefined, [isolated ? '1True' : 'insideTrue']])
  })

  test('the web folder that pyproject.toml names is served', async () => {
    const found = await fetch(`${comfy.url}/extensions/a-project/widget.js`)
    expect([found.status, await found.text()]).toEqual([200, 'export const widget = 1\n'])
    expect(await (await fetch(`${comfy.url}/api/extensions`)).json()).toContain('/extensions/a-project/widget.js')
  })
})
