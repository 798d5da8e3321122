/** Tensors on a GPU through whole calls: between ComfyUI and a worker, on one GPU. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { WorkerInfo } from '../../schemas/worker.ts'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { sharedMemory, until } from '../support/processes.ts'
import { finished, queue, run, type Outcome, type Prompt } from '../support/prompts.ts'

const COMMON = `
import gc
import os
import time

import torch

MiB = 1 << 20


def node(returns, output=False, **inputs):
    def make(function):
        kinds = {"required": {name: (kind,) for name, kind in inputs.items()}}
        body = {"INPUT_TYPES": classmethod(lambda cls: kinds), "RETURN_TYPES": returns, "FUNCTION": "run", "CATEGORY": "tests"}
        return type(function.__name__, (), {**body, "OUTPUT_NODE": output, "run": lambda self, **given: function(**given)})

    return make

def said(tensor):
    return f"{tensor.device} {float(tensor.double().sum())}"
`
/** In a worker. */
const GUEST = `${COMMON}
@node(("IMAGE", "STRING"), image="IMAGE", seconds="FLOAT")
def GuestAdd(image, seconds):
    """Writes into its input."""
    text = said(image)
    image.add_(1)
    time.sleep(seconds)
    return image, text


@node(("IMAGE",), mebibytes="INT")
def GuestMake(mebibytes):
    return (torch.ones(mebibytes * MiB // 4, device="cuda"),)


@node(("STRING",), image="IMAGE")
def GuestLook(image):
    return (f"{said(image)} reserved {torch.cuda.memory_reserved() // MiB}",)


@node((), output=True, image="IMAGE")
def GuestHungry(image):
    torch.empty(1 << 50, device="cuda")


NODE_CLASS_MAPPINGS = {cls.__name__: cls for cls in (GuestAdd, GuestMake, GuestLook, GuestHungry)}
`
/** In ComfyUI. */
const HOME = `${COMMON}
@node(("IMAGE",), mebibytes="INT", seed="INT")
def HomeMake(mebibytes, seed):
    return (torch.ones(mebibytes * MiB // 4, device="cuda"),)


@node((), output=True, image="IMAGE", other="IMAGE", text="STRING", seed="INT")
def HomeLook(image, other, text, seed):
    calls = next(found for found in gc.get_objects() if type(found).__name__ == "Calls")
    ways = calls.gpu.get("gpu-guest")
    return {"ui": {"text": [said(image), said(other), text, f"handed over: {ways}", str(torch.cuda.memory_allocated() // MiB)]}}


NODE_CLASS_MAPPINGS = {cls.__name__: cls for cls in (HomeMake, HomeLook)}
`

/** An NVIDIA driver on Linux; WSL, whose GPU memory no other process can open, has none of these. */
const HAS_GPU = existsSync('/dev/nvidiactl')

let seed = 0
const add = (mebibytes: number, seconds = 0): Prompt => ({
  make: { class_type: 'HomeMake', inputs: { mebibytes, seed: ++seed } },
  add: { class_type: 'GuestAdd', inputs: { image: ['make', 0], seconds } },
  look: { class_type: 'HomeLook', inputs: { image: ['add', 0], other: ['make', 0], text: ['add', 1], seed } },
})
const texts = ({ outputs }: Outcome, node = 'look'): string[] => (outputs[node]?.text ?? []).map(String)

describe.skipIf(!HAS_GPU)('tensors on a GPU (skipped: needs an NVIDIA GPU)', () => {
  const work = mkdtempSync(join(tmpdir(), 'envmanager-gpu-'))
  const comfies: [Comfy, PanelClient][] = []

  async function start(env: Record<string, string> = {}): Promise<[Comfy, PanelClient]> {
    for (const [name, code] of Object.entries({ 'gpu-guest': GUEST, 'gpu-home': HOME })) {
      mkdirSync(join(work, name), { recursive: true })
      writeFileSync(join(work, name, '__init__.py'), code)
    }
    const comfy = await startComfy({ frontend: FRONTENDS[0], packs: [join(work, 'gpu-guest'), join(work, 'gpu-home')], env, real: false })
    const panel = await PanelClient.connect(comfy.url)
    comfies.push([comfy, panel])
    await panel.until(({ packs }) => packs.some(({ id, state }) => id === 'gpu-guest' && state === 'ready'), 'the pack')
    await panel.call('isolation.set', { pack: 'gpu-guest', on: true })
    return [comfy, panel]
  }

  afterAll(async () => {
    for (const [comfy, panel] of comfies) {
      panel.close()
      await comfy.stop()
      comfy.remove()
    }
    rmSync(work, { recursive: true, force: true })
  })

  const ways: [string, Record<string, string>, string][] = [
    ['on the GPU', { PYTORCH_CUDA_ALLOC_CONF: '' }, 'handed over: yes'],
    ['on the GPU with cudaMallocAsync', { PYTORCH_CUDA_ALLOC_CONF: 'backend:cudaMallocAsync' }, 'handed over: yes'],
    ['on the GPU with expandable segments', { PYTORCH_CUDA_ALLOC_CONF: 'expandable_segments:True' }, 'handed over: yes'],
    ['past the bridge and not', { COMFY_ENV_STRAIGHT_CALLS: '0' }, 'handed over: yes'],
  ]
  test.each(ways)('go both ways: %s; a node that writes into its input changes its own', async (_, env, way) => {
    const [comfy] = await start(env)
    for (let call = 0; call < 3; call++) {
      const outcome = await run(comfy.url, add(4))
      expect(texts(outcome).slice(0, 4)).toEqual([`cuda:0 ${2 << 20}.0`, `cuda:0 ${1 << 20}.0`, `cuda:0 ${1 << 20}.0`, way])
    }
  })

  test('a worker that is killed while it has one, many calls, and the Unload button leave no memory of the GPU taken', async () => {
    const [comfy, panel] = await start({ PYTORCH_CUDA_ALLOC_CONF: '' })
    const names = sharedMemory()
    await run(comfy.url, add(256))
    const first = Number(texts(await run(comfy.url, add(256)))[4])
    for (let call = 0; call < 10; call++) await run(comfy.url, add(256))
    const prompt = await queue(comfy.url, add(256, 60))
    await panel.until(({ workers }) => workers.some(({ state }) => state.status === 'busy'), 'a busy worker')
    const worker = (await panel.snapshot()).workers[0]
    process.kill(worker?.pid ?? 0, 'SIGKILL')
    expect((await finished(comfy.url, prompt)).status).toBe('error')
    await until('the memory', async () => Number(texts(await run(comfy.url, add(256)))[4]) <= first + 8, 20_000)
    expect(sharedMemory()).toEqual(names)
    const look = async (): Promise<string> => {
      const prompt = { make: { class_type: 'GuestMake', inputs: { mebibytes: 1 } }, look: { class_type: 'GuestLook', inputs: { image: ['make', 0] } }, see: { class_type: 'PreviewAny', inputs: { source: ['look', 0] } } }
      return texts(await run(comfy.url, prompt), 'see')[0] ?? ''
    }
    expect(Number((await look()).split(' ').at(-1))).toBeGreaterThan(200)
    await fetch(`${comfy.url}/api/free`, { method: 'POST', body: '{}' })
    await until('the worker to give its memory back', async () => Number((await look()).split(' ').at(-1)) < 100, 10_000)
  })

  test('the panel shows what a worker takes of the GPU', async () => {
    const [comfy, panel] = await start()
    await run(comfy.url, add(64))
    const taken = (workers: WorkerInfo[]): number => Math.max(...workers.map(({ usage }) => usage?.vram_bytes ?? 0))
    await panel.until(({ workers }) => taken(workers) > 0, 'the memory of the GPU')
    expect(taken((await panel.snapshot()).workers)).toBeGreaterThan(64 << 20)
  })

  test('a node that wants more than the GPU has says so, in torch’s words, and the next call runs', async () => {
    const [comfy] = await start()
    const outcome = await run(comfy.url, { make: { class_type: 'HomeMake', inputs: { mebibytes: 1, seed: 0 } }, hungry: { class_type: 'GuestHungry', inputs: { image: ['make', 0] } } })
    expect(outcome.status).toBe('error')
    expect(JSON.stringify(outcome)).toMatch(/OutOfMemoryError/)
    expect((await run(comfy.url, add(1))).status).toBe('success')
  })
})
