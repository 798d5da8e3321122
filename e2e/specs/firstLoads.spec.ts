/** What a user sees of a pack that loads for the first time when ComfyUI has started. */
import { expect } from '@playwright/test'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Panel, test } from '../support/browser.ts'

const SLOW = `import os, time
import folder_paths
while not os.path.exists(os.path.join(folder_paths.get_output_directory(), "go")): time.sleep(0.01)
class Slow:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"turn": ("INT", {})}}
    def run(self, turn): return {"ui": {"text": ["ran"]}}
NODE_CLASS_MAPPINGS = {"SlowNode": Slow}
`

test('a workflow waits for its pack, says so, and runs by itself; the node is there', async ({ page, start }, { project }) => {
  const base = mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
  mkdirSync(join(base, 'custom_nodes', 'slow-pack'), { recursive: true })
  mkdirSync(join(base, 'user', '__envmanager'), { recursive: true })
  writeFileSync(join(base, 'custom_nodes', 'slow-pack', '__init__.py'), SLOW)
  writeFileSync(join(base, 'user', '__envmanager', 'state.json'), JSON.stringify({ schema: 1, isolated: ['slow-pack'] }))
  const comfy = await start({ base, packs: [] })
  const panel = await Panel.open(page, comfy.url)
  const known = () => page.evaluate(() => 'SlowNode' in (window as unknown as { LiteGraph: { registered_node_types: object } }).LiteGraph.registered_node_types)
  expect(await known()).toBe(false)

  await expect(async () => expect(await page.evaluate(() => (window as unknown as { app: { api: { clientId?: string } } }).app.api.clientId)).toBeTruthy()).toPass()
  const posted = page.evaluate(async () => {
    const { clientId } = (window as unknown as { app: { api: { clientId: string } } }).app.api
    const answer = await fetch('api/prompt', { method: 'POST', body: JSON.stringify({ client_id: clientId, prompt: { '1': { class_type: 'SlowNode', inputs: { turn: 1 } } } }) })
    return answer.status
  })
  const notice = page.getByText('The workflow waits for slow-pack to load, then runs by itself.').last()
  await expect(notice).toBeVisible()
  await expect(panel.pack('slow-pack').isolation).toBeDisabled() // it is being switched, as with the switch itself
  await panel.picture('first-load', project.name)

  writeFileSync(join(base, 'output', 'go'), '')
  expect(await posted).toBe(200)
  await expect(notice).toBeHidden()
  await expect(panel.pack('slow-pack').isolation).toHaveAttribute('aria-checked', 'true')
  await expect(async () => expect(await known()).toBe(true)).toPass()
})
