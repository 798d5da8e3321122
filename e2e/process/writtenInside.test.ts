/** What a node writes into its hidden PROMPT and EXTRA_PNGINFO is there for later nodes, with isolation off and on: SaveImage saves it with the picture. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { finished, type Outcome, type Prompt } from '../support/prompts.ts'

const nodes = (prefix: string): string => `
import json
import time

class Write:
    INPUT_IS_LIST = False
    RETURN_TYPES, FUNCTION, CATEGORY = ("*",), "run", "tests"
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"turn": ("INT", {"default": 0})}, "hidden": {"graph": "PROMPT", "info": "EXTRA_PNGINFO", "me": "UNIQUE_ID"}}
    def run(self, turn, graph, info, me):
        one = isinstance(info, list)
        graph, info = (graph[0], info[0]) if one else (graph, info)
        flow = info["workflow"]
        flow["nodes"][0]["widgets_values"] = ["shown", turn[0] if one else turn]
        flow["nodes"][1]["widgets_values"].append("more")
        flow.pop("gone", None)
        flow["made"] = {"deep": [1, None, {"x": 2.5}]}
        graph["3"]["inputs"]["text"] = "written"
        return (1,)

class Log(Write):
    def run(self, turn, graph, info, me):
        time.sleep(0.2)  # the others are on their way meanwhile
        info["workflow"]["log"].append(me)
        return (1,)

class WriteEarly(Write):
    def check_lazy_status(self, turn, graph, info, me):
        info["workflow"]["early"] = turn
    def run(self, turn, graph, info, me):
        return (1,)

class WriteLists(Write):
    INPUT_IS_LIST = True

class WriteNothing(Write):
    def run(self, turn, graph, info, me):
        return (json.dumps(info, sort_keys=True),)

class Read:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"after": ("*", {}), "text": ("STRING", {"default": ""})}, "hidden": {"graph": "PROMPT", "info": "EXTRA_PNGINFO"}}
    VALIDATE_INPUTS = classmethod(lambda cls, input_types: True)
    def run(self, after, text, graph, info):
        return {"ui": {"text": [text, json.dumps(info, sort_keys=True), json.dumps(graph["3"]["inputs"]["text"])]}}

NODE_CLASS_MAPPINGS = {"${prefix}" + cls.__name__: cls for cls in (Write, WriteLists, WriteNothing, WriteEarly, Log, Read)}
`

let work: string
let comfy: Comfy
let panel: PanelClient
let turn = 0

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'envmanager-written-'))
  for (const [pack, prefix] of [['written-there', ''], ['written-here', 'Here']] as const) {
    mkdirSync(join(work, pack))
    writeFileSync(join(work, pack, '__init__.py'), nodes(prefix))
  }
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [join(work, 'written-there'), join(work, 'written-here')] })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, state }) => id === 'written-there' && state === 'ready'), 'the pack')
})

afterAll(async () => {
  panel.close()
  await comfy.stop()
  comfy.remove()
  rmSync(work, { recursive: true })
})

/** What a later node reads: its input, the workflow that goes into pictures, and the prompt. */
async function read(writer: string, reader: string, beside: Prompt = {}): Promise<unknown[]> {
  return (await readers(writer, reader, beside))['3']?.text ?? []
}

async function readers(writer: string, reader: string, beside: Prompt = {}): Promise<Outcome['outputs']> {
  const workflow = { gone: 1, log: ['0'], nodes: [{ id: 2, widgets_values: [''] }, { id: 3, widgets_values: ['a'] }] }
  const prompt = { '2': { class_type: writer, inputs: { turn: ++turn } }, '3': { class_type: reader, inputs: { after: ['2', 0], text: 'as it was' } }, ...beside }
  const response = await fetch(`${comfy.url}/api/prompt`, { method: 'POST', body: JSON.stringify({ prompt, client_id: 'tests', extra_data: { extra_pnginfo: { workflow } } }) })
  const { outputs, error } = await finished(comfy.url, ((await response.json()) as { prompt_id: string }).prompt_id)
  expect(error.exception_message).toBeUndefined()
  return outputs
}

describe.each([false, true])('isolated: %s', (on) => {
  beforeAll(async () => {
    if (on) await panel.call('isolation.set', { pack: 'written-there', on })
  })

  test.each([['Write', 'HereRead'], ['Write', 'Read'], ['WriteLists', 'HereRead'], ['HereWrite', 'Read']])('%s, then %s', async (writer, reader) => {
    const [text, info, graph] = await read(writer, reader)
    expect([text, graph]).toEqual(['written', '"written"'])
    expect(JSON.parse(String(info))).toEqual({ workflow: { log: ['0'], made: { deep: [1, null, { x: 2.5 }] }, nodes: [{ id: 2, widgets_values: ['shown', turn] }, { id: 3, widgets_values: ['a', 'more'] }] } })
  })

  test('what several nodes add to one list is all there', async () => {
    const log = (): Prompt[string] => ({ class_type: 'Log', inputs: { turn: ++turn } })
    const reader = (node: string): Prompt[string] => ({ class_type: 'HereRead', inputs: { after: [node, 0], text: '' } })
    const outputs = await readers('Log', 'HereRead', { '4': log(), '5': log(), '6': reader('4'), '7': reader('5') })
    const logs = Object.values(outputs).map(({ text }) => (JSON.parse(String(text?.[1])) as { workflow: { log: string[] } }).workflow.log)
    expect(logs.find(({ length }) => length === 4)?.toSorted()).toEqual(['0', '2', '4', '5'])
  })

  test('what is written when ComfyUI asks for lazy inputs is there too', async () => {
    const [, info] = await read('WriteEarly', 'HereRead')
    expect(JSON.parse(String(info))).toMatchObject({ workflow: { early: turn } })
  })

  test('nothing is changed by a node that writes nothing', async () => {
    const [text, info] = await read('WriteNothing', 'HereRead')
    expect(text).toBe('as it was')
    expect(JSON.parse(String(info))).toMatchObject({ workflow: { gone: 1 } })
  })
})
