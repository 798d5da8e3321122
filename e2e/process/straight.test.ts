/** Calls that ComfyUI sends to a warm worker itself, past the bridge: what the bridge does for calls holds for these too. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import type { WorkerInfo } from '../../schemas/worker.ts'
import { bridgePid, type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { isAlive, until } from '../support/processes.ts'
import { finished, queue, run, type Prompt } from '../support/prompts.ts'

const PACK = 'note-taker'
const WORKER = `${PACK}#1`
const NODE = `
import os
import subprocess
import time

class Note:
    """Writes its number into a file, and waits."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"number": ("INT",), "file": ("STRING",), "seconds": ("FLOAT",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, number, file, seconds):
        with open(file, "a") as out:
            out.write(f"{number}\\n")
        time.sleep(seconds)
        return {"ui": {"text": [f"{number} in {os.getpid()}"]}}

class Leave:
    """Leaves a process behind that holds the worker's output open."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self):
        left = subprocess.Popen(["sleep", "60"], start_new_session=True)
        return {"ui": {"text": [str(left.pid)]}}

NODE_CLASS_MAPPINGS = {"Note": Note, "Leave": Leave}
`

let work: string
let comfy: Comfy
let panel: PanelClient
let next = 1

const file = (): string => join(work, 'notes')
const notes = (): number[] => readFileSync(file(), 'utf8').split('\n').filter(Boolean).map(Number)
/** So many new notes in one prompt. */
function take(count: number, seconds = 0): Prompt {
  const numbers = Array.from({ length: count }, () => next++)
  return Object.fromEntries(numbers.map((number) => [String(number), { class_type: 'Note', inputs: { number, file: file(), seconds } }]))
}

async function worker(): Promise<WorkerInfo> {
  const found = (await panel.snapshot()).workers.find(({ id }) => id === WORKER)
  if (!found) throw new Error('no worker')
  return found
}

/** The first call of a worker goes through the bridge, which starts it; those after it go straight. */
async function warm(): Promise<void> {
  for (let call = 0; call < 2; call++) expect((await run(comfy.url, take(1))).status).toBe('success')
}

function threadsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).length
  } catch {
    return 0
  }
}

/** A straight call that runs. */
async function waiting(): Promise<{ number: number; prompt: string; pid: number }> {
  await warm()
  const number = next
  const prompt = await queue(comfy.url, take(1, 60))
  await until('the note', () => notes().at(-1) === number)
  const { pid } = await worker()
  return { number, prompt, pid: pid ?? 0 }
}

describe.skipIf(process.platform !== 'linux')('straight calls (skipped: needs Linux)', () => {
  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), 'envmanager-straight-'))
    mkdirSync(join(work, PACK))
    writeFileSync(join(work, PACK, '__init__.py'), NODE)
    writeFileSync(file(), '')
    comfy = await startComfy({ frontend: FRONTENDS[0], packs: [join(work, PACK)] })
    panel = await PanelClient.connect(comfy.url)
    await panel.until(({ packs }) => packs.some(({ id, state }) => id === PACK && state === 'ready'), PACK)
    await panel.call('isolation.set', { pack: PACK, on: true })
  })

  afterAll(async () => {
    panel.close()
    await comfy.stop()
    comfy.remove()
    rmSync(work, { recursive: true })
  })

  test('a bridge that hangs holds up no call of a warm worker', async () => {
    await warm()
    const bridge = bridgePid(comfy.home) ?? 0
    process.kill(bridge, 'SIGSTOP')
    try {
      expect((await run(comfy.url, take(3))).status).toBe('success')
    } finally {
      process.kill(bridge, 'SIGCONT')
    }
    await until('the bridge to have heard', async () => (await worker()).calls === next - 1)
  })

  test('the panel shows what runs, counts it, and says how it went', async () => {
    await warm()
    const number = next
    const prompt = await queue(comfy.url, take(1, 1))
    await until('the node to be shown', async () => {
      const { state } = await worker()
      return state.status === 'busy' && state.node === `Note (node ${number})`
    })
    await finished(comfy.url, prompt)
    await until('its end', async () => (await worker()).state.status === 'ready')
    const { calls, last_call: last } = await worker()
    expect(calls).toBe(next - 1)
    expect(last).toMatchObject({ node: `Note (node ${number})`, failed: false })
    expect(last?.seconds).toBeGreaterThan(0.9)
  })

  test('kill -9: the node fails within a second and names the signal, and the next run works', async () => {
    const { number, prompt, pid } = await waiting()
    const killed = Date.now()
    process.kill(pid, 'SIGKILL')
    const { status, error } = await finished(comfy.url, prompt)
    expect(Date.now() - killed).toBeLessThan(1000)
    expect([status, error.exception_message]).toEqual(['error', expect.stringContaining(`was ended by SIGKILL while Note (node ${number}) ran`)])
    await warm()
    await panel.call('worker.stop', { worker: WORKER })
  })

  test('a call that comes when the process has died, before anybody has heard of it, runs in the next one', async () => {
    const left = Number((await run(comfy.url, { '1': { class_type: 'Leave', inputs: {} } })).outputs['1']?.text?.[0])
    try {
      await warm()
      const pid = (await worker()).pid ?? 0
      process.kill(pid, 'SIGKILL')
      // until its last thread has ended its sockets are open, and a call can still be sent to it
      await until('the process to be dead', () => !isAlive(pid) && threadsOf(pid) <= 1)
      const numbers = take(2)
      expect((await run(comfy.url, numbers)).status).toBe('success')
      expect(notes().slice(-2).map(String).toSorted()).toEqual(Object.keys(numbers).toSorted())
    } finally {
      process.kill(left, 'SIGKILL')
      await panel.call('worker.stop', { worker: WORKER })
    }
  })

  test('an interrupt ends it, and its process goes on', async () => {
    const { prompt, pid } = await waiting()
    await fetch(`${comfy.url}/api/interrupt`, { method: 'POST' })
    expect((await finished(comfy.url, prompt)).end).toBe('execution_interrupted')
    await until('the worker to be free', async () => (await worker()).state.status === 'ready', 5000)
    await warm()
    expect((await worker()).pid).toBe(pid)
  })

  test('a worker that is stopped while calls come: each runs, and runs once', async () => {
    const first = next
    const pids = new Set<number | null>()
    for (let round = 0; round < 4; round++) {
      await warm()
      pids.add((await worker()).pid)
      const prompt = await queue(comfy.url, take(150))
      const begun = next - 120
      await until('it to run', () => (notes().at(-1) ?? 0) > begun)
      await panel.call('worker.stop', { worker: WORKER })
      const { status, error } = await finished(comfy.url, prompt)
      expect([status, error.exception_message]).toEqual(['success', undefined])
    }
    expect(pids.size).toBe(4)
    const sorted = notes().filter((number) => number >= first).toSorted((a, b) => a - b)
    expect(sorted).toEqual(Array.from({ length: next - first }, (_, index) => first + index))
  })

  test('a second worker for the pack is used as soon as the user allows it', async () => {
    await warm()
    await panel.call('settings.set', { workers_per_pack: 2 })
    const { outputs } = await run(comfy.url, take(2, 0.5))
    const pids = Object.values(outputs).map(({ text }) => String(text?.[0]).split(' ')[2])
    expect(new Set(pids).size).toBe(2)
    await panel.call('settings.set', { workers_per_pack: 1 })
  })
})
