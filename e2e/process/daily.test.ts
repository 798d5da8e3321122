/** Day by day: what goes on in a worker beside its nodes, and choices of API clients. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { Comfy } from '../support/comfy.ts'
import { startWithFiles } from '../support/ownPacks.ts'
import { PanelClient } from '../support/panelClient.ts'
import { queue, run } from '../support/prompts.ts'

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
