/** Worker death and hang, A of the fault list: real kills and real hangs. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { startComfy } from '../support/comfy.ts'
import { fault, figure, quantile, residentOf, Subject, TIMES } from '../support/faults.ts'
import { PanelClient } from '../support/panelClient.ts'
import { isAlive, until } from '../support/processes.ts'
import { finished, run } from '../support/prompts.ts'
import { AGAIN } from '../support/rounds.ts'

let subject: Subject
beforeAll(async () => void (subject = await Subject.start('fault-maker')))
afterAll(() => subject.end())

const echo = async (number: number): Promise<unknown> => (await run(subject.comfy.url, fault('FaultEcho', { number, milliseconds: 0 }))).outputs['3']?.text?.[0]

test('1, 2: kill -9 in a call, many times: the node fails at once with its pack and signal, and the next call works', async () => {
  const errors: number[] = []
  const next: number[] = []
  for (let round = 0; round < TIMES; round++) {
    const { prompt, pid } = await subject.running(fault('FaultGrandchild', { x: round }), 'grandchild')
    const killed = performance.now()
    process.kill(pid, 'SIGKILL')
    const { error } = await finished(subject.comfy.url, prompt)
    errors.push(performance.now() - killed)
    expect(error.exception_message).toMatch(/fault-maker was ended by SIGKILL/)
    const asked = performance.now()
    expect(await echo(round)).toBe(`number ${round}`)
    next.push(performance.now() - asked)
    await subject.forgive()
  }
  expect(Math.max(...errors)).toBeLessThan(1000)
  figure(1, `p95 ${quantile(errors, 0.95).toFixed(0)} ms, worst ${Math.max(...errors).toFixed(0)} ms of ${TIMES}`)
  figure(2, `worked ${TIMES} of ${TIMES}, p50 ${quantile(next, 0.5).toFixed(0)} ms with the worker's start`)
})

test('7: a module that is missing: said by its name, soon', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-fault-'))
  mkdirSync(join(folder, 'lacks-module'))
  writeFileSync(join(folder, 'lacks-module', '__init__.py'), 'import module_that_is_nowhere\n')
  const comfy = await startComfy({ frontend: FRONTENDS[0], packs: [join(folder, 'lacks-module')] })
  const panel = await PanelClient.connect(comfy.url)
  try {
    await panel.until(({ packs }) => packs.some(({ state }) => state === 'broken'), 'the pack')
    const times: number[] = []
    for (let round = 0; round < TIMES; round++) {
      const asked = performance.now()
      await expect(panel.call('isolation.set', { pack: 'lacks-module', on: true })).rejects.toThrow(/module_that_is_nowhere/)
      times.push(performance.now() - asked)
    }
    figure(7, `p95 ${quantile(times, 0.95).toFixed(0)} ms of ${TIMES}`)
  } finally {
    panel.close()
    await comfy.stop()
    comfy.remove()
    rmSync(folder, { recursive: true, force: true })
  }
})

test('10: SIGSTOP: “does not answer”, then “stuck”, never ended; SIGCONT: the call completes', async () => {
  const { prompt, pid } = await subject.running(fault('FaultRegex', { seconds: 3 }), 'matching')
  process.kill(pid, 'SIGSTOP')
  const silent = await until('the worker to be silent', async () => (await subject.worker()).health === 'silent', 10_000)
  const stuck = silent + (await until('the worker to be stuck', async () => (await subject.worker()).health === 'stuck', 20_000))
  expect(isAlive(pid)).toBe(true)
  process.kill(pid, 'SIGCONT')
  expect((await finished(subject.comfy.url, prompt)).status).toBe('success')
  await until('the worker to be well', async () => (await subject.worker()).health === 'ok', 10_000)
  expect((await subject.worker()).pid).toBe(pid)
  expect(silent).toBeLessThan(6500)
  expect(stuck).toBeLessThan(17_000)
  figure(10, `silent after ${(silent / 1000).toFixed(1)} s, stuck after ${(stuck / 1000).toFixed(1)} s`)
})

test('11: native code that works and keeps Python’s lock: busy, never stuck, never ended, and right', { ...AGAIN, timeout: 60_000 }, async () => {
  const { prompt, pid } = await subject.running(fault('FaultRegex', { seconds: 20 }), 'matching')
  const seen = new Set<string>()
  const watching = setInterval(() => void subject.worker().then(({ health }) => seen.add(health)), 500)
  const { outputs } = await finished(subject.comfy.url, prompt, 120_000)
  clearInterval(watching)
  expect(outputs['3']?.text?.[0]).toMatch(/^matched for \d+/)
  expect(seen.has('stuck')).toBe(false)
  expect((await subject.worker()).pid).toBe(pid)
  figure(11, `${String(outputs['3']?.text?.[0])}, shown as ${[...seen].join(', ')}`)
})

test('13: a grandchild goes with its worker', async () => {
  const { line, prompt, pid } = await subject.running(fault('FaultGrandchild', { x: -1 }), 'grandchild')
  const grandchild = Number(line.split(' ')[1])
  expect(isAlive(grandchild)).toBe(true)
  process.kill(pid, 'SIGKILL')
  const took = await until('the grandchild to end', () => !isAlive(grandchild), 2000)
  await finished(subject.comfy.url, prompt)
  await subject.forgive()
  figure(13, `gone after ${took} ms`)
})

test('14: 200,000 printed lines: all on disk, and the panel answers meanwhile', async () => {
  await echo(0)
  const before = (await subject.worker()).lines
  const begin = performance.now()
  const running = run(subject.comfy.url, fault('FaultPrint', { lines: 200_000 }))
  const answers: number[] = []
  const state = { done: false }
  void running.finally(() => (state.done = true))
  while (!state.done) {
    const asked = performance.now()
    await subject.panel.snapshot()
    answers.push(performance.now() - asked)
    await new Promise((next) => setTimeout(next, 50))
  }
  await running
  const took = performance.now() - begin
  await until('every line to be logged', async () => (await subject.worker()).lines >= before + 200_000)
  expect(Math.max(...answers)).toBeLessThan(2000)
  figure(14, `${(took / 1000).toFixed(1)} s, panel answered within ${Math.max(...answers).toFixed(0)} ms`)
})

test('15: bytes without an end of line: the calls go on, and the line is cut', async () => {
  const bridge = subject.connection().pid
  const before = residentOf(bridge)
  const { outputs } = await run(subject.comfy.url, fault('FaultJunk', { megabytes: 50 }))
  expect(outputs['3']?.text?.[0]).toBe('written')
  expect(await echo(15)).toBe('number 15')
  figure(15, `100 MB written, the bridge's memory ${((residentOf(bridge) - before) / 1e6).toFixed(0)} MB more`)
})

test('16: a node that closes its streams, moves away and empties its environment: the next calls work', async () => {
  expect((await run(subject.comfy.url, fault('FaultMeddle', { x: 0 }))).outputs['3']?.text?.[0]).toBe('meddled')
  expect(await echo(16)).toBe('number 16')
  await subject.forgive()
  expect(await echo(17)).toBe('number 17')
})

test('17: a node that ignores requests to end: its worker is stopped all the same', async () => {
  await run(subject.comfy.url, fault('FaultIgnore', { x: 0 }))
  const { pid } = await subject.worker()
  const asked = performance.now()
  await subject.forgive()
  expect(isAlive(pid ?? 0)).toBe(false)
  figure(17, `stopped after ${(performance.now() - asked).toFixed(0)} ms`)
})

test('12: interrupt while native code keeps Python’s lock and hears nothing: the prompt ends at once, the worker after the grace', async () => {
  const { prompt, pid } = await subject.running(fault('FaultDeaf', { seconds: 60 }), 'deaf')
  const pressed = performance.now()
  await fetch(`${subject.comfy.url}/api/interrupt`, { method: 'POST' })
  expect((await finished(subject.comfy.url, prompt)).end).toBe('execution_interrupted')
  const ended = performance.now() - pressed
  const gone = await until('the worker to be ended', () => !isAlive(pid), 11_000)
  expect(await echo(12)).toBe('number 12')
  figure(12, `prompt ended after ${ended.toFixed(0)} ms, worker after ${(gone / 1000).toFixed(1)} s`)
})
