import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { lockIn, takeLock } from './osLock'
import { isServing, takeRunFolder } from './runFolder'
import { lockHolder } from './testing/lockHolder'
import { segmentsFolderOf } from './workers/segmentsFolder'

let home: string
beforeEach(() => (home = mkdtempSync(join(tmpdir(), 'envmanager-run-'))))
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(home, { recursive: true, force: true })
})

test('bridges of one home have folders of their own, which they remove', async () => {
  const [one, two] = await Promise.all([takeRunFolder(home), takeRunFolder(home)])
  expect(one.path).not.toBe(two.path)
  for (const { path } of [one, two]) expect(statSync(path).mode & 0o777).toBe(process.platform === 'win32' ? 0o666 : 0o700)
  expect([await isServing(home, one.name), await isServing(home, two.name)]).toEqual([true, true])
  await one.leave()
  expect([await isServing(home, one.name), await isServing(home, two.name)]).toEqual([false, true])
  expect(readdirSync(join(home, 'run'))).toEqual([two.name])
  await two.leave()
})

test('what a killed bridge has left goes with the next one’s start, its shared memory too; what is not a bridge’s stays', async () => {
  const left = join(home, 'run', '0123456789ab')
  mkdirSync(left, { recursive: true })
  writeFileSync(join(home, 'run', 'notes.txt'), 'mine')
  for (const name of ['mine', 'ffffffffffff']) {
    mkdirSync(join(home, 'run', name))
    writeFileSync(join(home, 'run', name, 'notes.txt'), 'mine')
  }
  mkdirSync(join(home, 'run', '000000000000')) // killed before it had its lock
  const segments = segmentsFolderOf(left)
  if (process.platform === 'linux') mkdirSync(segments)
  const child = spawn(process.execPath, lockHolder(join(left, 'alive.lock')), { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  await (await takeRunFolder(home)).leave()
  expect([existsSync(left), existsSync(segments)]).toEqual([true, process.platform === 'linux'])
  child.kill('SIGKILL')
  await once(child, 'exit')
  const run = await takeRunFolder(home)
  expect([existsSync(left), existsSync(segments)]).toEqual([false, false])
  expect(readdirSync(join(home, 'run')).sort()).toEqual([run.name, 'ffffffffffff', 'mine', 'notes.txt'].sort())
  await run.leave()
})

test('a folder that is being made is not taken for one that is left', async () => {
  const giveBack = await takeLock(lockIn(home, 'run')) // as a bridge has that makes its own
  const other = join(home, 'run', '0123456789ab')
  mkdirSync(other, { recursive: true })
  const taking = takeRunFolder(home)
  const held = await takeLock(join(other, 'alive.lock'))
  giveBack()
  const run = await taking
  expect(existsSync(other)).toBe(true)
  held()
  await run.leave()
})

test('a home in which nothing can be written: a folder elsewhere', async () => {
  const file = join(home, 'file')
  writeFileSync(file, '')
  vi.stubEnv('XDG_RUNTIME_DIR', join(home, 'runtime'))
  const run = await takeRunFolder(file)
  expect(run.path.startsWith(join(home, 'runtime'))).toBe(true)
  expect(await isServing(file, run.name)).toBe(true)
  await run.leave()
  expect(existsSync(run.path)).toBe(false)
})
