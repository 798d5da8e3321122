/** What lasts longer than one call is as inside ComfyUI, whatever becomes of a worker or of the bridge: what nodes do to an object, each other's work, contexts, hashes. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bridgePid, type Comfy } from '../support/comfy.ts'
import { startWithPacks } from '../support/ownPacks.ts'
import { PanelClient } from '../support/panelClient.ts'
import { finished, type Prompt, queue, run } from '../support/prompts.ts'

const code = (prefix: string): string => `import contextvars, logging, os, time
import folder_paths
FOLDER = folder_paths.get_output_directory()
def note(name):
    with open(os.path.join(FOLDER, "runs"), "a") as file: file.write(name + " ")
def node(returns, output=False, **inputs):
    def wrap(function):
        def run(self, **given):
            note(function.__name__)
            return function(**given)
        body = {"RETURN_TYPES": returns, "FUNCTION": "run", "CATEGORY": "tests", "OUTPUT_NODE": output, "run": run}
        body["INPUT_TYPES"] = classmethod(lambda cls: {"required": {name: (kind, {}) for name, kind in inputs.items()}})
        NODE_CLASS_MAPPINGS["${prefix}" + function.__name__] = type(function.__name__, (), body)
        return function
    return wrap
NODE_CLASS_MAPPINGS = {}
class Bag:
    def __init__(self): self.items = []
@node(("BAG",), seed="INT")
def New(seed): return (Bag(),)
@node(("INT",), bag="BAG", item="STRING")
def Put(bag, item):
    bag.items.append(item)
    return (len(bag.items),)
@node(("INT",), number="INT")
def Twice(number): return (number * 2,)
@node((), True, bag="BAG")
def Look(bag): return {"ui": {"text": [str(len(bag.items))]}}
@node((), True, bag="BAG", after="INT", turn="INT")
def Show(bag, after, turn): return {"ui": {"text": [str(bag.items), str(after)]}}
@node((), True, turn="INT")
def Save(turn):
    with open(os.path.join(FOLDER, f"saved-{turn}"), "w") as file:
        for line in range(20):
            file.write(f"line {line}\\n")
            file.flush()
            time.sleep(0.05)
    return {"ui": {"text": ["saved"]}}
@node((), True, turn="INT")
def Fail(turn):
    while not os.path.exists(os.path.join(FOLDER, f"saved-{turn}")): time.sleep(0.01)
    raise ValueError("as asked")
SET = contextvars.ContextVar("set", default="nothing")
@node((), True, turn="INT", value="STRING")
def Context(turn, value):
    before = SET.get()
    SET.set(value)
    return {"ui": {"text": [before]}}
class Outer:
    class Nested(Exception): pass
@node((), True, turn="INT")
def Raise(turn):
    logging.info("logged as information")
    raise Outer.Nested('in a message:\\n  File "elsewhere.py", line 5, in nowhere\\n')
class Hashes:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"text": ("STRING", {})}}
    @classmethod
    def IS_CHANGED(cls, text): return hash(text)
    def run(self, text):
        note("Hashes")
        return {"ui": {"text": [text]}}
NODE_CLASS_MAPPINGS["${prefix}Hashes"] = Hashes
`

let comfy: Comfy
let panel: PanelClient
beforeAll(async () => {
  ;({ comfy, panel } = await startWithPacks({ bags: { '__init__.py': code('There') }, here: { '__init__.py': code('Here') } }))
  await panel.call('isolation.set', { pack: 'bags', on: true })
})
afterAll(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
})

const log = (): string => join(comfy.base, 'output', 'runs')
/** What a prompt shows at a node, and which nodes have run for it. */
async function shown(prompt: Prompt, node: string): Promise<[unknown, string]> {
  writeFileSync(log(), '')
  const { outputs, error } = await run(comfy.url, prompt)
  return [error.exception_message ?? outputs[node]?.text, readFileSync(log(), 'utf8').trim()]
}

const bag = (turn: number, seed = 1): Prompt => ({
  '1': { class_type: 'ThereNew', inputs: { seed } },
  '2': { class_type: 'TherePut', inputs: { bag: ['1', 0], item: 'x' } },
  '3': { class_type: 'HereTwice', inputs: { number: ['2', 0] } },
  '4': { class_type: 'ThereShow', inputs: { bag: ['1', 0], after: ['3', 0], turn } },
  '5': { class_type: 'ThereLook', inputs: { bag: ['1', 0] } },
})

async function ended(how: (typeof HOW)[number]): Promise<void> {
  const worker = (await panel.snapshot()).workers.find(({ id }) => id.startsWith('bags'))
  if (how === 'off and on') {
    await panel.call('isolation.set', { pack: 'bags', on: false })
    await panel.call('isolation.set', { pack: 'bags', on: true })
  } else if (how === 'stop') await panel.call('worker.stop', { worker: worker?.id })
  else process.kill(worker?.pid ?? 0, 'SIGKILL')
  await panel.until(({ workers }) => workers.every(({ pid }) => pid !== worker?.pid || pid === null), 'its end')
}

const HOW = ['kill', 'stop', 'off and on'] as const
test.each(HOW)('what was done to an object is done to the one that takes its place: %s', async (how) => {
  const seed = HOW.indexOf(how) // another bag each time
  expect((await shown(bag(1, seed), '4'))[0]).toEqual(["['x']", '2'])
  expect(await shown(bag(2, seed), '4')).toEqual([["['x']", '2'], 'Show'])
  await ended(how)
  const [text, ran] = await shown(bag(3, seed), '4')
  expect([text, ran.split(' ').toSorted().join(' ')]).toEqual([["['x']", '2'], 'New Put Show Twice'])
  expect(await shown(bag(4, seed), '4')).toEqual([["['x']", '2'], 'Show'])
})

test('a node of ComfyUI that fails lets those end that are at work in a worker', async () => {
  const { end, error } = await run(comfy.url, { '1': { class_type: 'ThereSave', inputs: { turn: 1 } }, '2': { class_type: 'HereFail', inputs: { turn: 1 } } })
  expect([end, error.exception_message?.trim()]).toEqual(['execution_error', 'as asked'])
  const saved = join(comfy.base, 'output', 'saved-1')
  expect(existsSync(saved) && readFileSync(saved, 'utf8').trim().split('\n').at(-1)).toBe('line 19')
})

test('prompts that wait while the bridge is killed run when it is there again', async () => {
  await run(comfy.url, bag(10))
  process.kill(bridgePid(comfy.home) ?? 0, 'SIGKILL')
  const ids = await Promise.all([11, 12, 13, 14].map((turn) => queue(comfy.url, bag(turn))))
  const ends = await Promise.all(ids.map((id) => finished(comfy.url, id)))
  panel.close()
  panel = await PanelClient.connect(comfy.url)
  const texts = ends.map(({ error, outputs }) => error.exception_message ?? String(outputs['4']?.text))
  const wrong = texts.filter((text) => text !== "['x'],2")
  expect(wrong.length <= 1 ? '' : texts).toBe('')
  for (const text of wrong) expect(text).toMatch(/^The bridge has gone; the call may have run partly/) // its worker had it when it ended with the bridge
})

const one = (name: string, inputs: Record<string, unknown>): Prompt => ({ '1': { class_type: `There${name}`, inputs } })

test('what a node sets in its context ends with the prompt', async () => {
  const both = (turn: number): Prompt => ({ '1': one('Context', { turn, value: `of ${turn}` })['1'] as Prompt[string] })
  expect((await shown(both(1), '1'))[0]).toEqual(['nothing'])
  expect((await shown(both(2), '1'))[0]).toEqual(['nothing'])
})

test('a node that says by a text’s hash whether it has changed runs once, also when its worker has ended', async () => {
  const prompt = one('Hashes', { text: 'the same' })
  expect((await shown(prompt, '1'))[1]).toBe('Hashes')
  await ended('stop')
  expect((await shown(prompt, '1'))[1]).toBe('')
})

test('an error is named as its class is, no line of its message is taken for code, and what a pack logs is in its worker’s log', async () => {
  const { error } = await run(comfy.url, one('Raise', { turn: 1 }))
  expect(error.exception_type).toMatch(/Outer\.Nested$/)
  expect(error.traceback?.filter((frame) => frame.trimStart().startsWith('File "elsewhere.py"'))).toEqual([])
  const { workers } = await panel.snapshot()
  const worker = workers.find(({ id }) => id.startsWith('bags'))?.id
  const { lines } = await panel.call<{ lines: { text: string }[] }>('log.read', { log: worker, after: 0 })
  expect(lines.map(({ text }) => text).join('\n')).toContain('logged as information')
})
