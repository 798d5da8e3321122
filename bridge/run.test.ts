import { readFileSync } from 'node:fs'
import { expect, onTestFinished, test, vi } from 'vitest'
import { endOf, run, type Ran } from './run'

const WAIT = 'setInterval(() => undefined, 1000)'
/** Starts another that waits, with the same output, and prints its id. */
const starts = (options: string): string =>
  `const child = require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(WAIT)}], ${options}); console.log(child.pid); child.unref()`

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return process.platform !== 'linux' || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

const LIMIT_MS = 30_000

interface Running {
  ended: Promise<Ran>
  /** The process that it has started. */
  child: number
}

/** Runs a script; it is on once the process that it starts is there. */
async function running(script: string, signal?: AbortSignal, timeoutMs = LIMIT_MS): Promise<Running> {
  const { promise, resolve } = Promise.withResolvers<number>()
  const ended = run(process.execPath, ['-e', script], timeoutMs, { ...(signal && { signal }), onLine: (text) => resolve(Number(text)) })
  const child = await promise
  onTestFinished(() => void (isAlive(child) && process.kill(child, 'SIGKILL')))
  return { ended, child }
}

const goes = (pid: number): Promise<void> => vi.waitFor(() => expect(isAlive(pid)).toBe(false), { timeout: 5000 })

test.each([
  ['it has started', ''],
  ['it has started, also where it does not listen', 'process.on("SIGTERM", () => undefined);'],
])('who cancels ends a program and what %s', async (_, before) => {
  const abort = new AbortController()
  const { ended, child } = await running(`${before}${starts('{ stdio: "inherit" }')};${WAIT}`, abort.signal)
  abort.abort()
  expect(await ended).toMatchObject({ code: null, isLate: false })
  await goes(child)
}, 10_000)

test('a time limit holds, whatever the program has started, and its end in order is no success', async () => {
  const { ended, child } = await running(`process.on("SIGTERM", () => process.exit(0));${starts('{ stdio: "inherit" }')};${WAIT}`, undefined, 1500)
  const ran = await ended
  expect([ran.code, endOf(ran, 30 * 60_000)]).toEqual([null, 'was ended: its 30 minutes were over'])
  await goes(child)
}, 10_000)

test.each([
  ['ends with it', '{ stdio: "inherit" }', false],
  ['is not waited for where it has left us', '{ stdio: "inherit", detached: true }', true],
])('what a program leaves running %s', async (_, options, lives) => {
  const { ended, child } = await running(`${starts(options)};process.exitCode = 3`)
  expect(await ended).toMatchObject({ code: 3 })
  await vi.waitFor(() => expect(isAlive(child)).toBe(lives), { timeout: 5000 })
}, 10_000)

test('what is cancelled before it begins, and what is not there, is an answer', async () => {
  expect(await run(process.execPath, ['-e', WAIT], LIMIT_MS, { signal: AbortSignal.abort() })).toMatchObject({ code: null })
  expect(await run('/no/such/program', [], LIMIT_MS)).toMatchObject({ code: null, stdout: '' })
  expect(await run(process.execPath, ['-e', 'console.log("out"); console.error("err")'], LIMIT_MS)).toEqual({ code: 0, isLate: false, stdout: 'out', stderr: 'err' })
})
