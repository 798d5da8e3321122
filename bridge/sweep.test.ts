import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { markFolder } from './mark'
import { sweepHome } from './sweep'

let home: string
beforeEach(() => (home = mkdtempSync(join(tmpdir(), 'envmanager-sweep-'))))
afterEach(() => rmSync(home, { recursive: true, force: true }))

const DAY_S = 24 * 3600
function put(name: string, days = 400, content = ''): string {
  const path = join(home, name)
  mkdirSync(dirname(path), { recursive: true })
  if (name.endsWith('/')) mkdirSync(path, { recursive: true })
  else writeFileSync(path, content)
  const time = Date.now() / 1000 - days * DAY_S
  utimesSync(path, time, time)
  return path
}
const age = (name: string, days: number): void => {
  const time = Date.now() / 1000 - days * DAY_S
  utimesSync(join(home, name), time, time)
}
const sweep = (): Promise<void> => sweepHome(home, join(home, 'cache'))
const TMP = '0123456789ab.tmp'
const LINE = `${JSON.stringify({ seq: 1, time: 1, level: 'info', phase: 'queued', text: 'x' })}\n`
const has = (...names: string[]): boolean[] => names.map((name) => existsSync(join(home, name)))

test('what killed processes were about to write is swept where our mark is, once it is old; nothing else is', async () => {
  await markFolder(home, 'home')
  await markFolder(join(home, 'envs', 'a'), 'env', 'a')
  await markFolder(join(home, 'snapshots', 's'), 'snapshot', 's')
  const swept = [`state.json.${TMP}`, `settings.toml.999999-${TMP}`, `jobs/queue.json.${TMP}`, `classes/a.json.${TMP}`, `run/bridge.json.${TMP}`, `cache/pages/x.json.${TMP}`, `envs/a/env.json.${TMP}`, `snapshots/s/snapshot.json.${TMP}`]
  const kept = [`notes.txt.${TMP}`, `thesis.${TMP}`, `mine/a.json.${TMP}`, `envs/py311/a.json.${TMP}`, `snapshots/mine/a.json.${TMP}`, `cache/wheels/mine/a.json.${TMP}`, `envs/a/gen-1/a.json.${TMP}`]
  for (const name of [...swept, ...kept]) put(name)
  put(`state.json.999998-${TMP}`, 0) // of a process that this container does not see
  put(`state.json.${process.pid}-${TMP}`)
  await sweep()
  expect(has(...swept)).toEqual(swept.map(() => false))
  expect(has(...kept, `state.json.999998-${TMP}`, `state.json.${process.pid}-${TMP}`)).toEqual([...kept, 0, 0].map(() => true))
})

test('nothing of a folder without our mark is swept, nor behind a link', async () => {
  put(`state.json.${TMP}`)
  put('jobs/a.turns/')
  await sweep()
  expect(has(`state.json.${TMP}`, 'jobs/a.turns')).toEqual([true, true])
  await markFolder(home, 'home')
  const elsewhere = mkdtempSync(join(tmpdir(), 'envmanager-elsewhere-'))
  try {
    writeFileSync(join(elsewhere, `a.json.${TMP}`), '')
    utimesSync(join(elsewhere, `a.json.${TMP}`), 1, 1)
    for (const name of ['run', 'classes', 'cache']) symlinkSync(elsewhere, join(home, name))
    await sweep()
    expect(readdirSync(elsewhere)).toEqual([`a.json.${TMP}`])
  } finally {
    rmSync(elsewhere, { recursive: true })
  }
})

test('places in line of older versions and killed plans are swept; what is like them and not ours stays', async () => {
  await markFolder(home, 'home')
  for (const [folder, kind, name] of [['plan-AbCdEf', 'plan', ''], ['snapshots/s', 'snapshot', 's'], ['snapshots/whole', 'snapshot', 'whole'], ['plan-Recent', 'plan', '']] as const) await markFolder(join(home, folder), kind, name)
  put('snapshots/whole/snapshot.json')
  put('jobs/a.turns/000000000000001-1-1-abcdef')
  put('jobs/mine.turns/notes.txt')
  put('snapshots/mine/files/x')
  put('plan-theirs/x')
  for (const name of ['plan-AbCdEf', 'snapshots/s', 'snapshots/whole', 'snapshots/mine', 'jobs/a.turns', 'jobs/mine.turns', 'plan-theirs']) age(name, 2)
  await sweep()
  expect(has('plan-AbCdEf', 'jobs/a.turns')).toEqual([false, false])
  expect(has('plan-Recent', 'snapshots/whole', 'snapshots/mine/files/x', 'jobs/mine.turns/notes.txt', 'plan-theirs/x')).toEqual([true, true, true, true, true])
})

test('the last 200 logs of jobs stay, all of the last month, and those of jobs that wait; others’ files as well', async () => {
  await markFolder(home, 'home')
  const log = (at: number): string => `jobs/job-${String(at).padStart(7, '0')}.ndjson`
  for (let at = 0; at < 260; at++) put(log(at), at < 20 ? 20 : 40 + at, LINE)
  put('jobs/queue.json', 0, JSON.stringify({ schema: 1, jobs: [{ id: 'job-0000250' }] }))
  put('jobs/job-9999999.ndjson', 900, 'a log of somebody else')
  put('jobs/notes.ndjson', 900, LINE)
  await sweep()
  expect(has(log(0), log(19), log(199), log(200), log(249), log(250), log(259))).toEqual([true, true, true, false, false, true, false])
  expect(has('jobs/job-9999999.ndjson', 'jobs/notes.ndjson')).toEqual([true, true])
  // without knowing what waits, nothing goes
  put('jobs/queue.json', 0, '{')
  put('jobs/job-0000300.ndjson', 900, LINE)
  await sweep()
  expect(has('jobs/job-0000300.ndjson')).toEqual([true])
})
