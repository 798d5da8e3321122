/** Objects that stay in a worker, and connections, over the ends of what they belong to. */
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { bridgePid, type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { isAlive, until } from '../support/processes.ts'
import { cancelled, queue, run, type Prompt } from '../support/prompts.ts'

const THINGS = `
import time
class Thing:
    def __init__(self, number): self.number = number

def node(returns, function, output=False, **inputs):
    kinds = {"required": {name: (kind,) for name, kind in inputs.items()}}
    body = {"INPUT_TYPES": classmethod(lambda cls: kinds), "RETURN_TYPES": returns, "FUNCTION": "run", "CATEGORY": "tests", "OUTPUT_NODE": output}
    return type("Node", (), {**body, "run": lambda self, **given: function(**given)})

def sleep(seconds, turn):
    for _ in range(int(seconds * 20)): time.sleep(0.05)
    return (turn,)

NODE_CLASS_MAPPINGS = {
    "MakeThing": node(("THING",), lambda number: (Thing(number),), number="INT"),
    "UseThing": node(("STRING",), lambda thing, turn: (str(thing.number),), thing="THING", turn="INT"),
    "Sleep": node(("INT",), sleep, seconds="FLOAT", turn="INT"),
}
`
const OTHERS = `
import os, time
KEPT = {}

def node(returns, function, **inputs):
    kinds = {"optional": {name: (kind,) for name, kind in inputs.items()}}
    body = {"INPUT_TYPES": classmethod(lambda cls: kinds), "RETURN_TYPES": returns, "FUNCTION": "run", "CATEGORY": "tests", "OUTPUT_NODE": True}
    return type("Node", (), {**body, "run": lambda self, **given: function(**given)})

def keep(key, turn, value=None):
    if value is not None: KEPT[key] = value
    return (KEPT[key],)

def drop(key, turn):
    del KEPT[key]
    return {"ui": {"text": ["dropped"]}}

def fork(seconds):
    child = os.fork()
    if child == 0:
        time.sleep(seconds)
        os._exit(0)
    return {"ui": {"text": [str(child)]}}

NODE_CLASS_MAPPINGS = {
    "KeepThing": node(("THING",), keep, key="STRING", turn="INT", value="THING"),
    "DropThing": node((), drop, key="STRING", turn="INT"),
    "ForkHere": node((), fork, seconds="FLOAT"),
}
`
const WORKER = 'thing-maker#1'

let work: string
let comfy: Comfy
let panel: PanelClient
let turn = 0

const say = async (prompt: Prompt, node = '9'): Promise<string> => {
  const { status, outputs, error } = await run(comfy.url, prompt)
  return status === 'success' ? String(outputs[node]?.text?.[0]) : `${error.exception_type?.split('.').at(-1)}: ${error.exception_message}`
}
const of = (source: string): Prompt[string] => ({ class_type: 'PreviewAny', inputs: { source: [source, 0] } })
const use = (): Prompt => ({ '3': { class_type: 'UseThing', inputs: { thing: ['2', 0], turn: ++turn } }, '9': of('3') })
const make = (number: number, key: string): Promise<string> =>
  say({ '1': { class_type: 'MakeThing', inputs: { number } }, '2': { class_type: 'KeepThing', inputs: { key, turn: ++turn, value: ['1', 0] } }, ...use() })
const kept = (key: string): Promise<string> => say({ '2': { class_type: 'KeepThing', inputs: { key, turn: ++turn } }, ...use() })
const drop = (key: string): Promise<string> => say({ '9': { class_type: 'DropThing', inputs: { key, turn: ++turn } } })
const worker = async () => (await panel.snapshot()).workers.find(({ id }) => id === WORKER)

function sockets(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:')
    } catch {
      return false
    }
  }).length
}

describe.skipIf(process.platform !== 'linux')('what belongs to a process (skipped: needs Linux)', () => {
  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), 'envmanager-owners-'))
    for (const [name, text] of [['thing-maker', THINGS], ['thing-keeper', OTHERS]] as const) {
      mkdirSync(join(work, name))
      writeFileSync(join(work, name, '__init__.py'), text)
    }
    comfy = await startComfy({ frontend: FRONTENDS[0], packs: [join(work, 'thing-maker'), join(work, 'thing-keeper')], real: false, env: { COMFY_ENV_IDLE_MINUTES: '0.02' } })
    panel = await PanelClient.connect(comfy.url)
    await panel.until(({ packs }) => packs.some(({ id, state }) => id === 'thing-maker' && state === 'ready'), 'the pack')
    await panel.call('isolation.set', { pack: 'thing-maker', on: true })
  })

  afterAll(async () => {
    panel.close()
    await comfy.stop()
    comfy.remove()
    rmSync(work, { recursive: true })
  })

  test('a worker is not idle while ComfyUI keeps an object of it, and is when it lets go', async () => {
    expect(await make(1, 'a')).toBe('1')
    await pause(8000) // it looks every five seconds
    expect((await worker())?.state.status).toBe('ready')
    expect(await kept('a')).toBe('1')
    await drop('a')
    await run(comfy.url, { '1': of('2'), '2': { class_type: 'KeepThing', inputs: { key: 'x', turn: ++turn, value: 'nothing' } } }) // what the prompt before held is gone now
    await until('the idle worker to end', async () => (await worker())?.state.status === 'stopped', 20_000)
  })

  test('after a restart an object is gone, whatever the next process calls its own, and its end ends nothing there', async () => {
    expect(await make(111, 'old')).toBe('111')
    await panel.call('worker.restart', { worker: WORKER })
    expect(await kept('old')).toMatch(/^HandleGone: /)
    expect(await make(222, 'new')).toBe('222')
    expect(await kept('old')).toMatch(/^HandleGone: /)
    await drop('old')
    await pause(300)
    expect(await kept('new')).toBe('222')
    await drop('new')
  })

  test('an object is not given to a node of another worker: that has not run', async () => {
    await panel.call('isolation.set', { pack: 'thing-keeper', on: true })
    expect(await make(333, 'there')).toMatch(/cannot leave it/)
    await panel.call('isolation.set', { pack: 'thing-keeper', on: false })
    expect(await kept('there')).toMatch(/^KeyError: /)
  })

  test('a hundred cancelled calls leave no connection behind', async () => {
    const bridge = bridgePid(comfy.home) ?? 0
    const sleep = (seconds: number): Prompt => ({ '1': { class_type: 'Sleep', inputs: { seconds, turn: ++turn } }, '9': of('1') })
    const count = async (): Promise<number[]> => [sockets(comfy.process.pid ?? 0), sockets(bridge), sockets((await worker())?.pid ?? 0)]
    expect(await say(sleep(0))).toBe(String(turn))
    const cancel = async (): Promise<void> => {
      const id = await queue(comfy.url, sleep(30))
      await until('it to run', async () => (await worker())?.state.status === 'busy')
      expect((await cancelled(comfy.url, id)).end).toBe('execution_interrupted')
    }
    for (let round = 0; round < 5; round++) await cancel()
    const before = await count()
    for (let round = 0; round < 95; round++) await cancel()
    const after = await count()
    expect(after.map((number, index) => number - (before[index] ?? 0)).every((more) => more <= 2)).toBe(true)
    expect(await say(sleep(0))).toBe(String(turn))
  }, 300_000)

  test('ComfyUI ends while a child that it has forked lives on: bridge and worker end too', async () => {
    expect(await make(1, 'z')).toBe('1')
    const { pid } = (await worker()) ?? { pid: null }
    const bridge = bridgePid(comfy.home) ?? 0
    const child = Number(await say({ '9': { class_type: 'ForkHere', inputs: { seconds: 60 } } }))
    try {
      comfy.process.kill('SIGKILL')
      await until('bridge and worker to end', () => !isAlive(bridge) && !isAlive(pid ?? 0), 4000)
      expect(isAlive(child)).toBe(true)
    } finally {
      process.kill(child, 'SIGKILL')
    }
  })
})
