import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { EnvRecord } from '../schemas/env'
import { logsCommand } from './cli/logsCommand'
import { makeOutput } from './cli/output'
import { refuseForeign } from './home'
import { fetchWheel } from './install/download'
import { isEnvOf } from './install/envFolders'
import { EnvStore } from './install/envStore'
import { wrongFiles } from './install/verify'
import { LogFile, readLog } from './jobs/logFile'
import { Journal } from './serve/journal'

let home: string
beforeEach(() => void (home = mkdtempSync(join(tmpdir(), 'envmanager-files-'))))
afterEach(() => rmSync(home, { recursive: true, force: true }))

/** A named pipe: to open it is to wait for somebody at its other end. */
function pipe(name: string): string {
  const path = join(home, name)
  mkdirSync(dirname(path), { recursive: true })
  execFileSync('mkfifo', [path])
  return path
}

const record = { id: 'a', generation: 1 } as EnvRecord
const JOB = 'job-0123abcd'
const WHEEL = { url: 'file:///nowhere/x-1.0-py3-none-any.whl', filename: 'x-1.0-py3-none-any.whl', sha256: createHash('sha256').digest('hex') }
const fetched = (name: string) => {
  rmSync(join(home, 'wheels'), { recursive: true, force: true })
  pipe(join('wheels', WHEEL.sha256.slice(0, 32), name))
  return fetchWheel(WHEEL, home, { isOffline: true } as never, () => undefined, new AbortController().signal)
}
const appended = async (): Promise<void> => {
  const log = new LogFile(pipe('jobs/a.ndjson'), () => undefined)
  log.append('text', 'phase')
  await log.close()
}
const journalled = async (): Promise<void> => {
  pipe('logs/bridge.ndjson')
  const journal = new Journal(home, 'a')
  journal.write('bridge')
  await journal.close()
  expect(journal.tail(1)).toHaveLength(1)
}
const verified = async (): Promise<unknown> => {
  pipe('x-1.0.dist-info/RECORD')
  return wrongFiles(home, 'x')
}
const recorded = async (): Promise<unknown> => {
  pipe('x.py')
  mkdirSync(join(home, 'x-1.0.dist-info'))
  writeFileSync(join(home, 'x-1.0.dist-info', 'RECORD'), 'x.py,sha256=abc,1\n')
  return wrongFiles(home, 'x')
}

test.skipIf(process.platform === 'win32')('a pipe in place of a file of ours is never waited for, and named where that matters', async () => {
  for (const name of ['state.json', 'jobs/queue.json', 'run/bridge.json', 'logs/bridge.ndjson', 'envs/a/env.json', 'snapshots/a/snapshot.json']) {
    pipe(name)
    expect(() => refuseForeign({ home, cache: join(home, 'cache'), comfyui: null, base: null, temp: null })).toThrow(`it holds \`${name.split('/', 1)[0]}\``)
    rmSync(join(home, name.split('/', 1)[0] ?? ''), { recursive: true })
  }
  pipe('envs/a/env.json')
  expect(isEnvOf(join(home, 'envs', 'a'), 'a')).toBe(false)
  const store = new EnvStore(home)
  await expect(store.read('a')).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
  pipe('envs/a/gen-1/pylock.toml')
  await expect(store.lock(record)).rejects.toMatchObject({ code: 'ENV_BROKEN', message: expect.stringMatching(/pylock\.toml cannot be read: it is no file/) })
  const log = pipe(`jobs/${JOB}.ndjson`)
  expect(await readLog(log, 0)).toEqual([])
  await expect(logsCommand(JOB, home, makeOutput(true))).rejects.toMatchObject({ code: 'FILE_UNREADABLE', message: `${log} cannot be read: it is no file.` })
  await appended()
  await journalled()
  for (const name of [WHEEL.filename, `${WHEEL.filename}.part`]) await expect(fetched(name)).rejects.toMatchObject({ code: 'FILE_UNREADABLE', message: expect.stringContaining(name) })
  expect(await verified()).toEqual(['x has no RECORD'])
  rmSync(join(home, 'x-1.0.dist-info'), { recursive: true })
  expect(await recorded()).toEqual(['x.py is missing'])
  expect(lstatSync(log).isFIFO()).toBe(true)
})
