/** Day by day: what goes on in a worker beside its nodes, and choices of API clients. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import type { Comfy } from '../support/comfy.ts'
import { startWithFiles } from '../support/ownPacks.ts'
import { PanelClient } from '../support/panelClient.ts'
import { isAlive } from '../support/processes.ts'
import { finished, queue, run } from '../support/prompts.ts'

let comfy: Comfy | undefined
let panel: PanelClient | undefined
afterEach(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
  comfy = panel = undefined
})

/** Ten seconds of work in small parts: two looks for idle workers. */
const PACK = `import concurrent.futures, os, threading, time
import folder_paths
from aiohttp import web
from server import PromptServer
import asyncio
OUT = folder_paths.get_output_directory()
def download(name):
    for _ in range(100): time.sleep(0.1)
    open(os.path.join(OUT, name), "w").close()
POOL = concurrent.futures.ThreadPoolExecutor(1)
POOL.submit(int)
@PromptServer.instance.routes.get("/daily/long")
async def long(request):
    await asyncio.sleep(10)
    return web.Response(text="answered")
class Node:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"how": ("STRING", {})}}
    def run(self, how):
        if how == "thread": threading.Thread(target=download, args=("thread",), daemon=True).start()
        if how == "pool": POOL.submit(download, "pool")
        return {"ui": {"text": ["isolated" if "COMFYUI_ISOLATION_WORKER" in os.environ else "inside"]}}
NODE_CLASS_MAPPINGS = {"Daily": Node}
`
const node = (how: string) => ({ '7': { class_type: 'Daily', inputs: { how } } })

test('a worker with a download in a thread, a task of a pool or an open request is not idle; it ends after that', async () => {
  comfy = await startWithFiles({ daily: { '__init__.py': PACK } }, ['daily'], { env: { COMFY_ENV_IDLE_MINUTES: '0.02' } })
  const { url, base } = comfy
  for (const how of ['thread', 'pool']) {
    expect((await run(url, node(how))).outputs['7']?.text).toEqual(['isolated'])
    await expect.poll(() => existsSync(join(base, 'output', how)), { timeout: 20_000 }).toBe(true)
  }
  const answer = await fetch(`${url}/daily/long`)
  expect([answer.status, await answer.text()]).toEqual([200, 'answered'])
  panel = await PanelClient.connect(url)
  await panel.until(({ workers }) => workers.length > 0 && workers.every(({ pid }) => pid === null), 'the idle worker to end', 30_000)
})

test('a prompt of an API client chooses where its nodes run; what is no choice is refused', async () => {
  comfy = await startWithFiles({ daily: { '__init__.py': PACK } })
  const { url } = comfy
  panel = await PanelClient.connect(url)
  await panel.until(({ packs }) => packs.some(({ id, loaded }) => id === 'daily' && loaded === 'host'), 'the pack')
  const where = async (chosen: unknown, how: string): Promise<unknown> => (await run(url, node(how), { envmanager_isolated: chosen })).outputs['7']?.text
  expect(await where({}, 'a')).toEqual(['inside'])
  expect(await where({ 7: true }, 'b')).toEqual(['isolated'])
  expect(await where({ 8: true }, 'c')).toEqual(['inside'])
  const workflow = { nodes: [{ id: 7, type: 'Daily', properties: { envmanager_isolated: true } }] }
  expect((await run(url, node('d'), { extra_pnginfo: { workflow }, envmanager_isolated: { 7: false } })).outputs['7']?.text).toEqual(['inside'])
  await expect(queue(url, node('e'), { envmanager_isolated: { 7: 'yes' } })).rejects.toThrow(/envmanager_isolated has 'yes' for node 7: give true or false/)
  await expect(queue(url, node('f'), { envmanager_isolated: [7] })).rejects.toThrow(/envmanager_isolated is list/)
})

const HARD = `import atexit, hashlib, os, subprocess, sys
import folder_paths
OUT = folder_paths.get_output_directory()
atexit.register(lambda: open(os.path.join(OUT, "bye"), "w").close())
class Hard:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"rounds": ("INT", {"max": 10**9}), "how": ("STRING", {})}}
    def run(self, rounds, how):
        open(os.path.join(OUT, "began-" + str(rounds)), "w").close()
        if how == "hash": hashlib.pbkdf2_hmac("sha256", b"x", b"y", rounds)
        if how == "long": raise ValueError("m" * rounds)
        if how == "child":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
            return {"ui": {"text": [str(child.pid)]}}
        return {"ui": {"text": [str(os.getpid())]}}
NODE_CLASS_MAPPINGS = {"Hard": Hard}
`
const hard = (rounds: number, how: string) => ({ '1': { class_type: 'Hard', inputs: { rounds, how } } })

test('Cancel of a node in C, and Run again at once or later: the next prompt runs', async () => {
  comfy = await startWithFiles({ hard: { '__init__.py': HARD } }, ['hard'])
  const { url, base } = comfy
  for (const [turn, wait] of [0, 300, 1500].entries()) {
    const rounds = 60_000_000 + turn
    const id = await queue(url, hard(rounds, 'hash'))
    await expect.poll(() => existsSync(join(base, 'output', `began-${rounds}`)), { timeout: 20_000 }).toBe(true)
    await fetch(`${url}/api/interrupt`, { method: 'POST', body: '{}' })
    await pause(wait)
    const next = await run(url, hard(turn + 1, 'none'))
    expect([next.error.exception_message, next.outputs['1']?.text]).toEqual([undefined, [expect.stringMatching(/^\d+$/)]])
    expect((await finished(url, id)).end).toBe('execution_interrupted')
  }
})

test('an error text without end costs no worker; what a pack wants done at the end is done; what it has started apart ends', async () => {
  comfy = await startWithFiles({ hard: { '__init__.py': HARD } }, ['hard'])
  const { url, base } = comfy
  const before = (await run(url, hard(1, 'none'))).outputs['1']?.text
  for (const length of [900_000, 1_500_000, 20_000_000]) {
    const { error } = await run(url, hard(length, 'long'))
    expect([error.exception_type, error.exception_message?.startsWith('mmm')]).toEqual(['ValueError', true])
  }
  expect((await run(url, hard(2, 'none'))).outputs['1']?.text).toEqual(before)
  const child = Number((await run(url, hard(3, 'child'))).outputs['1']?.text?.[0])
  expect(isAlive(child)).toBe(true)
  panel = await PanelClient.connect(url)
  await panel.call('worker.stop', { worker: 'hard#1' })
  await expect.poll(() => existsSync(join(base, 'output', 'bye')), { timeout: 10_000 }).toBe(true)
  await expect.poll(() => isAlive(child), { timeout: 10_000 }).toBe(false)
})

const same = (name: string): string => `import os
class Same:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"turn": ("INT", {})}}
    def run(self, turn): return {"ui": {"text": ["${name}"]}}
NODE_CLASS_MAPPINGS = {"Same": Same, "Only${name}": Same}
`

test('of two packs with one class name ComfyUI’s has it, whichever is isolated, switched on and off', async () => {
  comfy = await startWithFiles({ one: { '__init__.py': same('One') }, two: { '__init__.py': same('Two') } })
  const { url } = comfy
  panel = await PanelClient.connect(url)
  await panel.until(({ packs }) => ['one', 'two'].every((name) => packs.some(({ id, loaded }) => id === name && loaded === 'host')), 'both packs')
  let turn = 0
  const who = async (): Promise<unknown> => (await run(url, { '1': { class_type: 'Same', inputs: { turn: ++turn } } })).outputs['1']?.text
  const first = await who()
  for (const pack of ['one', 'two']) {
    for (const on of [true, false]) {
      await panel.call('isolation.set', { pack, on })
      expect([pack, on, await who()]).toEqual([pack, on, first])
    }
  }
})

test('settings.toml is broken when ComfyUI starts: that is said, and once it is corrected what is isolated runs; later faults in it are said too', async () => {
  comfy = await startWithFiles({ daily: { '__init__.py': PACK } }, ['daily'], { home: { 'settings.toml': '[workers\n' } })
  const { url, home } = comfy
  await expect(queue(url, node('a'))).rejects.toThrow(/daily runs isolated and could not be loaded: .*settings\.toml/)
  panel = await PanelClient.connect(url)
  const write = (text: string): void => writeFileSync(join(home, 'settings.toml'), text)
  const problems = async (): Promise<string> => ((await panel?.snapshot())?.host.problems ?? []).filter((text) => text.includes('settings.toml')).join('\n')
  await expect.poll(problems).toMatch(/^The settings are not known: .*$/)
  write('[workers]\nidle_minutes = 7\n')
  await panel.until(({ packs, host }) => host.settings.idle_minutes === 7 && packs.some(({ id, isolation }) => id === 'daily' && isolation.state === 'on'), 'the pack')
  expect((await run(url, node('b'))).outputs['7']?.text).toEqual(['isolated'])
  expect(await problems()).toBe('')
  write('[workers')
  await expect.poll(problems, { timeout: 10_000 }).toMatch(/^The settings are as they were before: .*$/)
  await panel.call('worker.stop', { worker: 'daily#1' })
  expect((await run(url, node('c'))).outputs['7']?.text).toEqual(['isolated'])
  write('nothing = 1\n')
  await expect.poll(problems, { timeout: 10_000 }).toMatch(/^.*there is no setting `nothing`.*$/)
  write('')
  await expect.poll(problems, { timeout: 10_000 }).toBe('')
})
