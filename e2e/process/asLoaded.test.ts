/** What ComfyUI's loader does for a pack, done for one that it never imports. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
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
    const base = mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
    const pack = join(base, 'custom_nodes', 'webby')
    mkdirSync(join(pack, 'web2'), { recursive: true })
    writeFileSync(join(pack, '__init__.py'), CODE)
    writeFileSync(join(pack, 'pyproject.toml'), PROJECT)
    writeFileSync(join(pack, 'web2', 'widget.js'), 'export const widget = 1\n')
    mkdirSync(join(base, 'user', '__envmanager'), { recursive: true })
    writeFileSync(join(base, 'user', '__envmanager', 'state.json'), JSON.stringify({ schema: 1, isolated: isolated ? ['webby'] : [] }))
    comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], base })
    panel = await PanelClient.connect(comfy.url)
    await panel.until(({ packs }) => packs.some(({ id, loaded }) => id === 'webby' && loaded !== 'no'), 'the pack')
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
