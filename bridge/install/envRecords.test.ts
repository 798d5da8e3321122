import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { EnvRecord } from '../../schemas/env'
import { MARK } from '../mark'
import { cleanUp } from './cleanup'
import { makeGeneration } from './envFolders'
import { EnvStore } from './envStore'
import type { Uv } from './uv'

let home: string
let store: EnvStore
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'envmanager-records-'))
  store = new EnvStore(home)
  for (const number of [1, 2]) writeFileSync(join(await makeGeneration(store.folder('a'), 'a', number), 'envmanager.json'), JSON.stringify(recordOf(number, number - 1 || null)))
  write(recordOf(2, 1))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const recordOf = (generation: number, previous: number | null = null): EnvRecord => ({
  schema: 1, id: 'a', kind: 'overlay', pack: 'a', generation, previous, interpreter: '/p', host_site: null, combination: null, requirements_hash: '', packages: [], created: 1,
})
const envFile = (): string => join(home, 'envs', 'a', 'env.json')
const write = (record: EnvRecord): void => writeFileSync(envFile(), JSON.stringify(record))
const inEnv = (): string[] => readdirSync(store.folder('a')).filter((name) => name !== MARK).sort()
const freeSpace = () => cleanUp(store, join(home, 'cache'), { run: async () => '' } as unknown as Uv, true, () => ({}))

test.each([
  ['not there', (): void => undefined],
  ['not whole', (): void => void mkdirSync(store.generation('a', 9))],
])('a record put back from a backup, whose generation is %s, deletes no whole one: the env is broken, and repair takes up the newest', async (what, more) => {
  write(recordOf(9, 8))
  more()
  await store.sweep()
  await freeSpace()
  expect(inEnv()).toEqual(expect.arrayContaining(['gen-1', 'gen-2']))
  expect(await store.list()).toEqual([])
  const reason = `${envFile()} names gen-9, which is ${what}.`
  expect(await store.damaged()).toEqual([{ id: 'a', reason, record: recordOf(2, 1), repairable: true }])
  expect(await store.problems()).toEqual([expect.stringMatching(/ names gen-9, .*comfy-env repair a/)])
  await expect(store.use('a')).rejects.toMatchObject({ code: 'ENV_BROKEN', message: reason, hint: expect.stringContaining('comfy-env repair a') })
  expect(await store.recover('a')).toEqual(recordOf(2, 1))
  expect([await store.read('a'), await store.problems()]).toEqual([recordOf(2, 1), []])
})

test('a generation that somebody has deleted can be undone', async () => {
  rmSync(store.generation('a', 2), { recursive: true })
  expect((await store.damaged())[0]?.reason).toBe(`${envFile()} names gen-2, which is not there.`)
  expect(await store.undo('a', {})).toEqual(recordOf(1, 2))
  expect(await store.problems()).toEqual([])
})
