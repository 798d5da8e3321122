/** Async nodes of a worker, and what running nodes show to a ComfyUI that is busy or has given up. */
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { until } from '../support/processes.ts'
import { finished, queue, run, type Prompt } from '../support/prompts.ts'

const PACK = 'many-at-once'
const NODES = `
import asyncio
import time

import comfy.utils
from PIL import Image
from server import PromptServer

def node(function):
    names = function.__code__.co_varnames[1:function.__code__.co_argcount]
    inputs = classmethod(lambda cls: {"required": {name: ("*",) for name in names}})
    body = {"INPUT_TYPES": inputs, "RETURN_TYPES": ("*",), "FUNCTION": "run", "CATEGORY": "tests", "OUTPUT_NODE": True, "run": function}
    return type(function.__name__, (), body)

AT_ONCE = [0, 0]

@node
async def Wait(self, seconds, number):
    AT_ONCE[0] += 1
    AT_ONCE[1] = max(AT_ONCE)
    await asyncio.sleep(seconds)
    AT_ONCE[0] -= 1
    return {"ui": {"text": [str(number), AT_ONCE[1]]}}

@node
async def Leave(self, file):
    async def later():
        await asyncio.sleep(0.3)
        with open(file, "w") as out:
            out.write("later")
    self.task = asyncio.create_task(later())
    return {"ui": {"text": ["left"]}, "result": ("left",)}

@node
def Send(self, count):
    PromptServer.instance.send_sync("tests.points", {"points": list(range(count))})
    PromptServer.instance.send_sync("tests.nobody", {}, 12345)
    return {"ui": {"text": ["sent"]}}

@node
def Previews(self, seconds):
    picture, end, step = Image.new("RGB", (1024, 1024)), time.monotonic() + seconds, 0
    bar = comfy.utils.ProgressBar(100_000)
    while time.monotonic() < end:
        step += 1
        bar.update_absolute(step, 100_000, ("JPEG", picture, 1024))
        time.sleep(0.02)
    return {"ui": {"text": ["done"]}}

@node
def Fail(self, text):
    raise ValueError(text)  # this very line

NODE_CLASS_MAPPINGS = {name: value for name, value in list(globals().items()) if isinstance(value, type) and hasattr(value, "FUNCTION")}
`
const HOST = 'blocks-comfyui'
const HOST_NODES = `
import asyncio
import time

class Hold:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"seconds": ("FLOAT",), "after": ("*",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, seconds, after):
        time.sleep(seconds)
        return {"ui": {"text": ["held"]}}

class WaitHere(Hold):
    async def run(self, seconds, after):
        await asyncio.sleep(seconds)
        return {"ui": {"text": ["waited"]}}

NODE_CLASS_MAPPINGS = {"Hold": Hold, "WaitHere": WaitHere}
`

let work: string
let comfy: Comfy
let panel: PanelClient

const text = (outputs: Record<string, Record<string, unknown[]>>, node: string): unknown => outputs[node]?.text?.[0]
const pid = async (): Promise<number> => (await panel.snapshot()).workers.find(({ packs }) => packs.includes(PACK))?.pid ?? 0
/** Segments of shared memory that a process has made or mapped by a descriptor. */
function segments(process: number): number {
  const names = readdirSync(`/proc/${process}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${process}/fd/${fd}`)
    } catch {
      return ''
    }
  })
  return names.filter((name) => name.includes('comfyui-envmanager')).length
}

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'envmanager-async-'))
  for (const [pack, nodes] of [[PACK, NODES], [HOST, HOST_NODES]] as const) {
    mkdirSync(join(work, pack))
    writeFileSync(join(work, pack, '__init__.py'), nodes)
  }
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [join(work, PACK), join(work, HOST)] })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, state }) => id === PACK && state === 'ready'), PACK)
  await panel.call('isolation.set', { pack: PACK, on: true })
  await run(comfy.url, { 1: { class_type: 'Wait', inputs: { seconds: 0, number: 0 } } })
})

afterAll(async () => {
  panel.close()
  await comfy.stop()
  comfy.remove()
  rmSync(work, { recursive: true })
})

test('async nodes of a worker run beside each other', async () => {
  const numbers = Array.from({ length: 32 }, (_, at) => String(at + 1))
  const prompt: Prompt = Object.fromEntries(numbers.map((number) => [number, { class_type: 'Wait', inputs: { seconds: 1, number } }]))
  const { status, outputs } = await run(comfy.url, prompt)
  expect([status, numbers.map((number) => text(outputs, number))]).toEqual(['success', numbers])
  expect(Math.max(...numbers.map((number) => Number(outputs[number]?.text?.[1])))).toBe(32)
})

test('what an async node has left running lives on after it', async () => {
  const file = join(work, 'later')
  await run(comfy.url, { 1: { class_type: 'Leave', inputs: { file } }, 2: { class_type: 'WaitHere', inputs: { seconds: 0.8, after: ['1', 0] } } })
  expect(readdirSync(work)).toContain('later')
})

test('an event with much data reaches the browser, and none ends the worker', async () => {
  const socket = new WebSocket(`${comfy.url.replace('http', 'ws')}/ws?clientId=tests`)
  const events: { type: string; data: { points: number[] } }[] = []
  socket.on('message', (data, binary) => !binary && events.push(JSON.parse(String(data)) as (typeof events)[number]))
  await new Promise((opened) => socket.on('open', opened))
  const before = await pid()
  for (const more of [0, 1]) expect((await run(comfy.url, { '1': { class_type: 'Send', inputs: { count: 300_000 + more } } })).status).toBe('success')
  await until('both events', () => events.filter(({ type }) => type === 'tests.points').length === 2)
  expect(events.find(({ type }) => type === 'tests.points')?.data.points).toHaveLength(300_000)
  expect(await pid()).toBe(before)
  socket.close()
})

test.skipIf(process.platform !== 'linux')('previews take little memory, whether ComfyUI is busy or has given the call up (skipped: needs Linux)', async () => {
  const previews = { class_type: 'Previews', inputs: { seconds: 3 } }
  const busy = await queue(comfy.url, { 1: previews, 2: { class_type: 'Hold', inputs: { seconds: 3, after: 0 } } })
  await pause(2500)
  expect(segments(await pid())).toBeLessThan(24)
  expect((await finished(comfy.url, busy)).status).toBe('success')
  for (let turn = 0; turn < 8; turn++) {
    const cancelled = await queue(comfy.url, { 1: { ...previews, inputs: { seconds: 20 + turn } } })
    await pause(400)
    await fetch(`${comfy.url}/api/interrupt`, { method: 'POST' })
    await finished(comfy.url, cancelled)
  }
  await pause(500)
  expect(segments(await pid())).toBeLessThan(24)
})

test('a traceback has the line and its text', async () => {
  const { error } = await run(comfy.url, { 1: { class_type: 'Fail', inputs: { text: 'told' } } })
  const line = NODES.split('\n').findIndex((found) => found.includes('this very line')) + 1
  expect(error.traceback?.at(-1)).toMatch(new RegExp(`many-at-once/__init__\\.py", line ${line}, in Fail\\n    raise ValueError\\(text\\)  # this very line`))
})
