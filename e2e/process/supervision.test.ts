import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import type { WorkerInfo } from '../../schemas/worker.ts'
import { bridgePid, type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { isAlive, sharedMemory, until } from '../support/processes.ts'
import { finished, queue, run } from '../support/prompts.ts'
import { trouble } from '../support/workflows.ts'

const PACK = 'trouble-maker'

let comfy: Comfy
let panel: PanelClient

async function worker(): Promise<WorkerInfo> {
  const found = (await panel.snapshot()).workers.find(({ packs }) => packs.includes(PACK))
  if (!found) throw new Error('no worker')
  return found
}

async function start(): Promise<void> {
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [PACK] })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, state }) => id === PACK && state === 'ready'), PACK)
  await panel.call('isolation.set', { pack: PACK, on: true })
}

/** A call that runs, and the process it runs in. */
async function runningCall(cls: 'TroubleSleep' | 'TroubleBusy' | 'TroubleHold', seconds = 60): Promise<{ prompt: string; pid: number }> {
  const prompt = await queue(comfy.url, trouble(cls, { seconds }))
  await until('the call to run', async () => (await worker()).state.status === 'busy')
  const log = async () => (await panel.call<{ lines: { text: string }[] }>('log.read', { log: `${PACK}#1`, after: 0 })).lines
  const said = { TroubleSleep: 'sleeping 60', TroubleBusy: 'busy', TroubleHold: 'holding' }[cls]
  await until('the node to say so', async () => (await log()).some(({ text }) => text.startsWith(said)))
  const { pid } = await worker()
  if (pid === null) throw new Error('no process')
  return { prompt, pid }
}

/** After what a test has done, calls work again; what it crashed is forgiven. */
async function works(): Promise<void> {
  const { status, outputs } = await run(comfy.url, trouble('TroubleWhere'))
  expect(status).toBe('success')
  expect(outputs['3']?.text?.[0]).toMatch(/isolated 1$/)
  await panel.call('worker.stop', { worker: `${PACK}#1` })
}

describe('a worker that dies', () => {
  beforeAll(start)
  afterAll(async () => {
    panel.close()
    await comfy.stop()
    comfy.remove()
  })

  test('kill -9 in a call: the node fails within a second, names the signal, and the next run works', async () => {
    const { prompt, pid } = await runningCall('TroubleSleep')
    const killed = Date.now()
    process.kill(pid, 'SIGKILL')
    const { status, error } = await finished(comfy.url, prompt)
    expect(Date.now() - killed).toBeLessThan(1000)
    expect(status).toBe('error')
    expect(error.exception_message).toContain('was ended by SIGKILL while TroubleSleep (node 2) ran')
    expect(error.node_id).toBe('2')
    await works()
  })

  test.each([
    ['segfault', /SIGSEGV/],
    ['abort', /SIGABRT/],
    ['exit42', /exit code 42/],
  ])('%s is named, with the last lines in the log', async (how, named) => {
    const { error } = await run(comfy.url, trouble('TroubleCrash', { how }))
    expect(error.exception_message).toMatch(named)
    const { state } = await worker()
    expect(state.status === 'crashed' && state.exit.lines.join('\n')).toContain('about to crash')
    await panel.call('worker.stop', { worker: `${PACK}#1` })
    await works()
  })

  test('three crashes in five minutes: not started again until the user says so', async () => {
    for (let crash = 0; crash < 3; crash++) await run(comfy.url, trouble('TroubleCrash', { how: 'exit42' }))
    const { error } = await run(comfy.url, trouble('TroubleWhere'))
    expect(error.exception_message).toContain('crashed three times in five minutes')
    await panel.call('worker.stop', { worker: `${PACK}#1` })
    await works()
  })

  test('interrupt ends a prompt at once, and a busy Python loop with it', async () => {
    const { prompt, pid } = await runningCall('TroubleBusy')
    const pressed = Date.now()
    await fetch(`${comfy.url}/api/interrupt`, { method: 'POST' })
    const { end } = await finished(comfy.url, prompt)
    expect(end).toBe('execution_interrupted')
    expect(Date.now() - pressed).toBeLessThan(1000)
    await until('the loop to end', async () => (await worker()).state.status === 'ready', 5000)
    expect((await worker()).pid).toBe(pid)
    await works()
  })
})

describe('nothing outlives ComfyUI', () => {
  // also after a test that failed half-way
  afterEach(async () => {
    panel.close()
    await comfy.stop('SIGKILL')
    comfy.remove()
  })

  test.each(['TroubleSleep', 'TroubleBusy', 'TroubleHold'] as const)('kill -9 of ComfyUI while %s runs: bridge and worker gone within two seconds', async (cls) => {
    const before = sharedMemory()
    await start()
    const { pid } = await runningCall(cls)
    const bridge = bridgePid(comfy.home) ?? 0
    expect(isAlive(bridge) && isAlive(pid)).toBe(true)
    comfy.process.kill('SIGKILL')
    await until('bridge and worker to end', () => !isAlive(bridge) && !isAlive(pid), 2000)
    expect(sharedMemory()).toEqual(before)
  })

  test('kill -9 of the bridge: its workers go, the call fails, and a new bridge takes over', async () => {
    await start()
    const { prompt, pid } = await runningCall('TroubleHold')
    const bridge = bridgePid(comfy.home) ?? 0
    process.kill(bridge, 'SIGKILL')
    const { error } = await finished(comfy.url, prompt)
    expect(error.exception_message).toContain('The bridge has gone')
    await until('the worker to end', () => !isAlive(pid), 2000)
    panel.close()
    panel = await PanelClient.connect(comfy.url)
    await until('calls to work again', async () => (await run(comfy.url, trouble('TroubleWhere'))).status === 'success')
  })
})
