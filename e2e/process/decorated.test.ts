/** A pack written for the Python library `comfyui-envmanager`, unchanged, inside ComfyUI. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { run } from '../support/prompts.ts'

const PACK = `
import os
from comfyui_envmanager import isolated

@isolated(env="decorated", import_paths=["vendor"])
class Decorated:
    FUNCTION, RETURN_TYPES, CATEGORY = "go", ("STRING",), "tests"
    INPUT_TYPES = classmethod(lambda cls: {"required": {"number": ("INT", {"default": 1})}})

    def go(self, number, more=None):
        import helper
        return (f"{helper.NAME} {number} in worker {os.environ.get('COMFYUI_ISOLATION_WORKER', '0')}",)

NODE_CLASS_MAPPINGS = {"Decorated": Decorated}
`

test('a decorated class runs in its pack’s worker, without a switch', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-decorated-'))
  const pack = join(folder, 'decorated-pack')
  mkdirSync(join(pack, 'vendor'), { recursive: true })
  writeFileSync(join(pack, '__init__.py'), PACK)
  writeFileSync(join(pack, 'vendor', 'helper.py'), 'NAME = "helper"')
  const comfy = await startComfy({ frontend: FRONTENDS[0], packs: [pack] })
  try {
    const panel = await PanelClient.connect(comfy.url)
    panel.close()
    const { outputs, error } = await run(comfy.url, {
      '1': { class_type: 'Decorated', inputs: { number: 5 } },
      '2': { class_type: 'PreviewAny', inputs: { source: ['1', 0] } },
    })
    expect(error.exception_message).toBeUndefined()
    expect(outputs['2']?.text?.[0]).toBe('helper 5 in worker 1')
  } finally {
    await comfy.stop()
    comfy.remove()
    rmSync(folder, { recursive: true, force: true })
  }
})
