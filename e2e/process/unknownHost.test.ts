/** A ComfyUI that lacks one of the places we step into: it starts and runs as if we were absent there, and what does not work is said. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { ROOT } from '../../scripts/devPython.ts'
import type { Comfy } from '../support/comfy.ts'
import { startWithFiles } from '../support/ownPacks.ts'
import { PanelClient } from '../support/panelClient.ts'
import { run } from '../support/prompts.ts'

const NOT_YET = 'Packs that ComfyUI has loaded cannot be isolated before it is restarted, and after an update of an isolated one its kept results are the older files’ until then.'
const IN_EXECUTOR = ['_async_map_node_over_list', 'execute_async', 'PENDING', 'pendingNodes', 'is_cached', 'ephemeral_parents', 'outputs', 'objects', 'subcaches', 'cache_key_set', 'get_data_key']
/** A word of the host's files that another takes the place of, and what does not work then. The panel's own route is said in the log only. */
const PLACES: [word: string, says: string, hasPanel?: boolean][] = [
  ['load_custom_node', 'Every pack runs inside ComfyUI.'],
  ...IN_EXECUTOR.map((word): [string, string] => [word, NOT_YET]),
  ['unload_all_models', 'Its Unload button leaves the models of workers where they are.'],
  ['add_on_prompt_handler', 'Nodes run where their pack does, whatever is chosen for one of them.'],
  ['routes', 'There is no panel.', false],
  ['app', 'Isolated packs have no routes', false],
]
const PACK = `class Where:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"turn": ("INT", {})}}
    def run(self, turn): return {"ui": {"text": ["ran"]}}
NODE_CLASS_MAPPINGS = {"Where": Where}
`

let comfy: Comfy | undefined
let host = ''
afterEach(async () => {
  await comfy?.stop()
  comfy?.remove()
  comfy = undefined
  rmSync(host, { recursive: true, force: true })
})

/** The test host with other names. */
function hostWithout(word: string): string {
  host = mkdtempSync(join(tmpdir(), 'envmanager-host-'))
  cpSync(join(ROOT, 'e2e', 'host'), host, { recursive: true, filter: (path) => !path.includes('__pycache__') })
  for (const file of readdirSync(host, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.py'))) {
    const path = join(host, file)
    writeFileSync(path, readFileSync(path, 'utf8').replace(new RegExp(`(?<![\\w"'/])${word}\\b(?!["'])`, 'g'), `other_${word}`))
  }
  return host
}

test.each(PLACES)('without %s', async (word, says, hasPanel = true) => {
  comfy = await startWithFiles({ where: { '__init__.py': PACK } }, [], { real: false, host: hostWithout(word) })
  const { url, output } = comfy
  const { outputs, error } = await run(url, { '1': { class_type: 'Where', inputs: { turn: 1 } }, '2': { class_type: 'EmptyImage', inputs: { width: 8, height: 8, batch_size: 1, color: 0 } }, '3': { class_type: 'SaveImage', inputs: { images: ['2', 0], filename_prefix: 'made' } } })
  expect(error.exception_message).toBeUndefined()
  expect(outputs['1']?.text).toEqual(['ran'])
  await expect.poll(() => output(), { timeout: 20_000 }).toContain(says)
  expect(output()).not.toContain('could not register its panel')
  if (!hasPanel) return
  const panel = await PanelClient.connect(url)
  await panel.until(({ host: { problems } }) => problems.some((problem) => problem.includes('one that we do not know') && problem.includes(says)), 'the sentence in the panel', 20_000)
  panel.close()
})
