/** What an isolated pack registers with ComfyUI and looks up on its server is as inside. Only a real ComfyUI (COMFYUI_DIR) has it: skipped without one. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Comfy } from '../support/comfy.ts'
import { startWithPacks } from '../support/ownPacks.ts'
import type { PanelClient } from '../support/panelClient.ts'
import { forgetResults, run } from '../support/prompts.ts'

const root = process.env.COMFYUI_DIR ?? ''
/** Node replacements and cache providers came with one version. */
const registers = existsSync(join(root, 'comfy_execution', 'cache_provider.py'))

const EXTENSION = `
import os
import folder_paths
from comfy_api.latest import Caching, ComfyAPI, ComfyExtension, io
def note(name):
    with open(os.path.join(folder_paths.get_output_directory(), "asked"), "a") as file: file.write(name + " ")
class Kept(Caching.CacheProvider):
    def __init__(self): self.values = {}
    def should_cache(self, context, value=None): return context.class_type == "Registered"
    async def on_lookup(self, context):
        note("lookup")
        return self.values.get(context.cache_key_hash)
    async def on_store(self, context, value):
        note("store")
        self.values[context.cache_key_hash] = value
    def on_prompt_end(self, prompt_id): note("end")
class Registered(io.ComfyNode):
    @classmethod
    def define_schema(cls): return io.Schema(node_id="Registered", category="tests", inputs=[io.Float.Input("value", default=1), io.Float.Input("added", default=1)], outputs=[io.String.Output()])
    @classmethod
    def execute(cls, value, added):
        note("run")
        return io.NodeOutput(f"{value!r} {added!r}")
class Extension(ComfyExtension):
    async def on_load(self):
        await ComfyAPI().caching.register_provider(Kept())
        mapping = [{"new_id": "value", "old_id": "v"}, {"new_id": "added", "set_value": 2.0}]
        await ComfyAPI().node_replacement.register(io.NodeReplace(new_node_id="Registered", old_node_id="OldName", old_widget_ids=["v"], input_mapping=mapping))
    async def get_node_list(self): return [Registered]
async def comfy_entrypoint(): return Extension()
`
const NAMES = `
import json, server
from server import PromptServer
def public(thing): return [name for name in dir(thing) if not name.startswith("_")]
AT_IMPORT = [hasattr(PromptServer.instance, "web_root"), hasattr(PromptServer.instance, "address")]
class Names:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"asked": ("STRING", {})}}
    def run(self, asked):
        things = {"module": server, "server": PromptServer.instance, "queue": PromptServer.instance.prompt_queue}
        if not asked: return {"ui": {"text": [json.dumps({name: public(thing) for name, thing in things.items()})]}}
        missing = []
        for kind, names in json.loads(asked).items():
            for name in names:
                try: getattr(things[kind], name)
                except RuntimeError as error: assert "isolation off" in str(error)
                except AttributeError as error: missing.append(f"{kind}: {error}")
        return {"ui": {"text": [json.dumps(missing)]}}
class Used:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"turn": ("INT", {})}}
    def run(self, turn):
        here = PromptServer.instance
        return {"ui": {"text": [json.dumps([
            here.web_root, here.port, here.address, server.args.port, server.is_loopback("127.0.0.1"), server.nodes.__name__, server.json.__name__,
            bytes(here.encode_bytes(4, b"abc")).hex(), type(here.user_manager).__name__, type(here.client_session).__name__, AT_IMPORT])]}}
class Error:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"turn": ("INT", {})}}
    def run(self, turn): PromptServer.instance.trigger_on_prompt({})
NODE_CLASS_MAPPINGS = {"Names": Names, "Used": Used, "Error": Error}
`
const SHOW = `
class Show:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"text": ("STRING", {}), "turn": ("INT", {})}}
    def run(self, text, turn): return {"ui": {"text": [text]}}
NODE_CLASS_MAPPINGS = {"Show": Show}
`

describe.skipIf(!root)('what a pack registers and asks (a real ComfyUI)', () => {
  let comfy: Comfy
  let panel: PanelClient

  beforeAll(async () => {
    const more = registers ? { registers: { '__init__.py': EXTENSION } } : undefined
    ;({ comfy, panel } = await startWithPacks({ names: { '__init__.py': NAMES }, show: { '__init__.py': SHOW }, ...more }, ['registers', 'names']))
  })
  afterAll(async () => {
    panel?.close()
    await comfy?.stop()
    comfy?.remove()
  })

  const shown = async (cls: string, inputs: Record<string, unknown>): Promise<string> => {
    const { outputs, error } = await run(comfy.url, { '1': { class_type: cls, inputs } })
    expect(error.exception_message).toBeUndefined()
    return String(outputs['1']?.text?.[0])
  }
  const asked = (): string[] => readFileSync(join(comfy.base, 'output', 'asked'), 'utf8').trim().split(' ')
  const old = (v: number, turn: number) => ({ '1': { class_type: 'OldName', inputs: { v }, _meta: { title: 'old' } }, '2': { class_type: 'Show', inputs: { text: ['1', 0], turn }, _meta: { title: 'show' } } })
  const replacements = async (): Promise<unknown> => (await fetch(`${comfy.url}/api/node_replacements`)).json()

  test.skipIf(!registers)('a replaced name runs, and a cache provider is asked, in the worker as inside', async () => {
    const listed = await replacements()
    expect(listed).toHaveProperty('OldName')
    expect((await run(comfy.url, old(3, 1))).outputs['2']?.text).toEqual(['3.0 2.0'])
    await forgetResults(comfy.url)
    expect((await run(comfy.url, old(3, 2))).outputs['2']?.text).toEqual(['3.0 2.0'])
    await expect.poll(() => asked().filter((word) => word === 'end').length).toBe(2)
    const isolated = asked()
    expect(isolated.filter((word) => word === 'run')).toEqual(['run']) // the second time it came from the provider
    expect(isolated).toEqual(expect.arrayContaining(['lookup', 'store']))

    await panel.call('isolation.set', { pack: 'registers', on: false })
    expect(await replacements()).toEqual(listed)
    await run(comfy.url, old(4, 3))
    await forgetResults(comfy.url)
    expect((await run(comfy.url, old(4, 4))).outputs['2']?.text).toEqual(['4.0 2.0'])
    await expect.poll(() => asked().filter((word) => word === 'end').length).toBe(4) // one provider: that in ComfyUI
    expect(asked().slice(isolated.length).filter((word) => word === 'run')).toEqual(['run'])
  })

  test('every name of ComfyUI’s server is there, or says that it cannot be reached', async () => {
    const used = JSON.parse(await shown('Used', { turn: 1 }))
    const { error } = await run(comfy.url, { '1': { class_type: 'Error', inputs: { turn: 1 } } })
    expect(error.exception_message).toMatch(/PromptServer.instance.trigger_on_prompt cannot be reached from an isolated node/)
    await panel.call('isolation.set', { pack: 'names', on: false })
    const names = await shown('Names', { asked: '' })
    expect(JSON.parse(names).module).toContain('PromptServer')
    expect(JSON.parse(await shown('Used', { turn: 2 }))).toEqual(used)
    await panel.call('isolation.set', { pack: 'names', on: true })
    expect(JSON.parse(await shown('Names', { asked: names }))).toEqual([])
  })
})
