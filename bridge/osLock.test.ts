import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ifFree, lockIn, takeLock, withLock } from './osLock'
import { CAN_FREEZE, freeze } from './testing/freeze'
import { lockHolder } from './testing/lockHolder'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'envmanager-lock-'))
  path = lockIn(folder, 'env-a')
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true, force: true })
})

/** Another process that holds the lock until it is killed. */
async function holder(): Promise<ChildProcess> {
  await ifFree(path, async () => undefined)
  const child = spawn(process.execPath, lockHolder(path), { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return child
}

test('who is killed holds nothing: the next one goes on, and has heard that it waits', async () => {
  const other = await holder()
  const onWait = vi.fn<() => boolean>(() => other.kill('SIGKILL'))
  expect(await withLock(path, { onWait }, async () => 'done')).toBe('done')
  expect(onWait).toHaveBeenCalledOnce()
})

test('waiting for another process can be cancelled', async () => {
  const other = await holder()
  const abort = new AbortController()
  const waiting = withLock(path, { signal: abort.signal, onWait: () => abort.abort() }, async () => 'done')
  await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' })
  expect(await ifFree(path, async () => 'done')).toBeNull()
  other.kill('SIGKILL')
  expect(await withLock(path, {}, async () => 'done')).toBe('done')
})

test('one process’s own parts come one after the other, in the order of asking, also where the clock goes back', async () => {
  let now = 1e12
  vi.spyOn(Date, 'now').mockImplementation(() => (now -= 3_600_000))
  const seen: number[] = []
  let inside = 0
  const work = (number: number) => async (): Promise<void> => {
    expect(++inside).toBe(1)
    await new Promise(setImmediate)
    seen.push(number)
    inside--
  }
  await Promise.all([0, 1, 2, 3].map((number) => withLock(path, {}, work(number))))
  expect(seen).toEqual([0, 1, 2, 3])
})

test('one that stops waiting lets the next one through, and not too early', async () => {
  const giveBack = await takeLock(path)
  const abort = new AbortController()
  const second = withLock(path, { signal: abort.signal }, async () => 'second')
  const seen: string[] = []
  const third = withLock(path, {}, async () => void seen.push('third'))
  abort.abort()
  await expect(second).rejects.toMatchObject({ code: 'CANCELLED' })
  seen.push('first')
  giveBack()
  await third
  expect(seen).toEqual(['first', 'third'])
})

test('a failure gives the lock back', async () => {
  await expect(withLock(path, {}, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(await ifFree(path, async () => 'free')).toBe('free')
})

const isRoot = process.getuid?.() === 0
test.skipIf(process.platform === 'win32' || (isRoot && !CAN_FREEZE))('one that may only be read is refused: SQLite would give it to everybody (root needs chattr +i)', async () => {
  await ifFree(path, async () => undefined)
  const thaw = isRoot ? freeze(path) : () => chmodSync(path, 0o644)
  if (!isRoot) chmodSync(path, 0o444)
  try {
    await expect(takeLock(path)).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' })
  } finally {
    thaw()
  }
  expect(await ifFree(path, async () => 'free')).toBe('free')
})

test('those who share hold it together, and never beside one who does not', async () => {
  const [one, two] = await Promise.all([takeLock(path, { shared: true }), takeLock(path, { shared: true })])
  expect(await ifFree(path, async () => 'alone')).toBeNull()
  one()
  expect(await ifFree(path, async () => 'alone')).toBeNull()
  two()
  expect(await ifFree(path, async () => 'alone')).toBe('alone')
})

test('a place that cannot be written is said with its name', async () => {
  writeFileSync(join(folder, 'locks'), '')
  await expect(takeLock(path)).rejects.toMatchObject({ code: 'FILE_UNWRITABLE', message: expect.stringContaining(path) })
})

test.skipIf(process.platform === 'win32').each([
  ['a pipe', (): void => void execFileSync('mkfifo', [path])],
  ['a folder', (): void => mkdirSync(path)],
])('%s in its place is said, and not waited for', async (_, put) => {
  mkdirSync(dirname(path))
  put()
  const fault = { code: 'FILE_UNWRITABLE', message: `${path} cannot be locked: it is no file.` }
  await expect(takeLock(path)).rejects.toMatchObject(fault)
  await expect(takeLock(path, { shared: true })).rejects.toMatchObject(fault)
})
