/** Node classes, inputs and model folders that are called as what every JavaScript object has: names like any other. */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { bridgePid, type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { until } from '../support/processes.ts'
import { run } from '../support/prompts.ts'

const NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty']
const PACK = '__proto__'
const CODE = `import os
import folder_paths

class N:
    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "odd"
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"prototype": ("INT", {"constructor": {"__proto__": 1}}), "constructor": ("INT", {})}}
    def run(self, prototype, constructor):
        there = [os.path.basename(path) for name in ("__proto__", "constructor") for path in folder_paths.get_folder_paths(name)]
        return (" ".join([os.environ.get("COMFYUI_ISOLATION_WORKER", "inside"), *there]),)
NODE_CLASS_MAPPINGS = {${NAMES.map((name) => `"${name}": type("${name}", (N,), {})`).join(', ')}}
`
const FOLDERS = `import os
import folder_paths
for name in ("__proto__", "constructor"):
    folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, f"of {name}"))
NODE_CLASS_MAPPINGS = {}
`

let comfy: Comfy
let panel: PanelClient

async function start(base: string): Promise<void> {
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], base })
  await connect()
}

async function connect(): Promise<void> {
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ host, packs }) => host.comfyui !== null && packs.some(({ id, state }) => id === PACK && state === 'ready'), 'the pack')
}

beforeAll(async () => {
  const base = mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
  for (const [name, text] of [[PACK, CODE], ['folders', FOLDERS]] as const) {
    mkdirSync(join(base, 'custom_nodes', name), { recursive: true })
    writeFileSync(join(base, 'custom_nodes', name, '__init__.py'), text)
  }
  await start(base)
})
afterAll(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
})

let asked = 0
/** Where a node of each class runs, and what model folders it sees there. */
async function places(): Promise<string[]> {
  const found: string[] = []
  for (const name of NAMES) {
    const prompt = { '1': { class_type: name, inputs: { prototype: ++asked, constructor: 2 } }, '2': { class_type: 'PreviewAny', inputs: { source: ['1', 0] } } }
    const { outputs, error } = await run(comfy.url, prompt)
    found.push(String(outputs['2']?.text ?? error.exception_message))
  }
  return found
}
const everywhere = (place: string): string[] => NAMES.map(() => `${place} of __proto__ of constructor`)

const setAll = async (on: boolean | null): Promise<void> => {
  for (const name of NAMES) await panel.call('isolation.set', { pack: PACK, class: name, on })
}
const shown = async (): Promise<[string, boolean][]> => Object.entries((await panel.snapshot()).packs.find(({ id }) => id === PACK)?.class_isolation ?? {})
const kept = (): string => JSON.stringify((JSON.parse(readFileSync(join(comfy.home, 'state.json'), 'utf8')) as { classes?: unknown }).classes)

test('each class is set apart whatever its name is, also after a bridge’s end and at ComfyUI’s next start', async () => {
  expect(await places()).toEqual(everywhere('inside'))
  await setAll(true)
  expect(await places()).toEqual(everywhere('1'))
  const pid = bridgePid(comfy.home)
  process.kill(pid ?? 0, 'SIGKILL')
  await until('the next bridge', () => ![null, pid].includes(bridgePid(comfy.home)))
  panel.close()
  await connect()
  expect(await shown()).toEqual(NAMES.map((name) => [name, true]))
  expect(await places()).toEqual(everywhere('1'))
  panel.close()
  await comfy.stop()
  await start(comfy.base)
  expect(await shown()).toEqual(NAMES.map((name) => [name, true]))
  expect(await places()).toEqual(everywhere('1'))
  await setAll(null)
  expect([await shown(), kept()]).toEqual([[], '{}'])
  expect(await places()).toEqual(everywhere('inside'))
})
