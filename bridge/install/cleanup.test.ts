import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { EnvRecord } from '../../schemas/env'
import { BridgeError } from '../errors/bridgeError'
import { markFolder } from '../mark'
import { CAN_FREEZE, freeze } from '../testing/freeze'
import { cleanUp } from './cleanup'
import { makeGeneration } from './envFolders'
import { EnvStore } from './envStore'
import { holdGeneration } from './envUse'
import type { Uv } from './uv'

let home: string
let store: EnvStore
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'envmanager-cleanup-'))
  store = new EnvStore(home)
  await markFolder(home, 'home')
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const uv = { run: async () => '' } as unknown as Uv
const full = new BridgeError('DISK_FULL', 'The disk is full.')
const clean = (signal?: AbortSignal) => cleanUp(store, join(home, 'cache'), uv, true, () => (signal ? { signal } : {}))

const recordOf = (id: string, generation: number, previous: number | null = null): EnvRecord => ({
  schema: 1, id, kind: 'overlay', pack: id, generation, previous, interpreter: '/p', host_site: null, combination: null, requirements_hash: '', packages: [], created: 1,
})

/** An env that has an earlier generation. */
async function env(id: string): Promise<void> {
  for (const number of [1, 2]) {
    const folder = await makeGeneration(store.folder(id), id, number)
    writeFileSync(join(folder, 'envmanager.json'), JSON.stringify(recordOf(id, number)))
  }
  writeFileSync(join(store.folder(id), 'env.json'), JSON.stringify(recordOf(id, 2, 1)))
}
async function downloads(): Promise<void> {
  const folder = join(home, 'cache', 'wheels', 'abc')
  await markFolder(folder, 'wheel', 'abc')
  for (const name of ['a.whl', 'old.whl.part']) writeFileSync(join(folder, name), name)
  utimesSync(join(folder, 'old.whl.part'), 1, 1)
}
const previousOf = (id: string): unknown => (JSON.parse(readFileSync(join(store.folder(id), 'env.json'), 'utf8')) as EnvRecord).previous

test('what needs no write is deleted before an earlier state is forgotten, and one that cannot be keeps nothing else and is named', async () => {
  await env('a')
  await env('b')
  await downloads()
  const forget = store.forgetPrevious.bind(store)
  vi.spyOn(store, 'forgetPrevious').mockImplementation(async (id, waiting) => {
    expect(readdirSync(join(home, 'cache', 'wheels'))).toEqual([])
    return id === 'a' ? Promise.reject(full) : forget(id, waiting)
  })
  await expect(clean()).rejects.toMatchObject({
    code: 'DISK_FULL',
    message: expect.stringMatching(/^Could not be deleted: the earlier state of a .*: The disk is full\. Deleted: broken download old\.whl\.part .*, downloaded wheels .*, the earlier state of b /),
    hint: expect.not.stringContaining('Nothing was changed'),
    details: { failed: [{ what: expect.stringContaining('of a'), reason: 'The disk is full.' }], deleted: [{}, {}, {}] },
  })
  expect([previousOf('a'), previousOf('b')]).toEqual([1, null])
})

test('who must wait hears for which environment', async () => {
  await env('a')
  await env('b')
  const heard: string[] = []
  const { promise: waits, resolve } = Promise.withResolvers<void>()
  const [begun, changing] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const change = store.exclusive('b', {}, () => {
    begun.resolve()
    return changing.promise
  })
  await begun.promise
  const cleaning = cleanUp(store, join(home, 'cache'), uv, true, (of) => ({
    onWait: () => {
      heard.push(of)
      resolve()
    },
  }))
  await waits
  changing.resolve()
  await Promise.all([change, cleaning])
  expect([heard, previousOf('a'), previousOf('b')]).toEqual([['b'], null, null])
})

test('on a full disk an earlier state makes the space that its record is written with', async () => {
  await env('a')
  const publish = store.publish.bind(store)
  const there: boolean[] = []
  vi.spyOn(store, 'publish').mockImplementation((record) => {
    there.push(existsSync(store.generation('a', 1)))
    return publish(record)
  })
  await expect(clean()).resolves.toMatchObject([{ what: expect.stringContaining('the earlier state of a') }])
  expect([there, previousOf('a'), existsSync(store.generation('a', 2))]).toEqual([[false], null, true])
})

test('an earlier state that a worker runs on is left, said, not counted, and can still be gone back to', async () => {
  await env('a')
  writeFileSync(join(store.generation('a', 1), 'weights'), Buffer.alloc(100_000))
  const leave = await holdGeneration(home, 'a', 1)
  expect(await clean()).toEqual([{ what: expect.stringMatching(/^the earlier state of a .*: left, it is in use$/), bytes: 0 }])
  expect(previousOf('a')).toBe(1)
  leave()
  expect(await clean()).toEqual([{ what: expect.stringMatching(/^the earlier state of a /), bytes: expect.any(Number) }])
  expect([previousOf('a'), existsSync(store.generation('a', 1))]).toEqual([null, false])
})

test.skipIf(!CAN_FREEZE).each([['envmanager.json', true], ['.', true], ['lib/frozen.py', false]])('an earlier state that cannot be deleted (%s) is named as such, and the record does not forget it (needs chattr +i)', async (name, isWhole) => {
  await env('a')
  mkdirSync(join(store.generation('a', 1), 'lib'))
  writeFileSync(join(store.generation('a', 1), 'lib', 'frozen.py'), '')
  const thaw = freeze(join(store.generation('a', 1), name))
  try {
    await expect(clean()).rejects.toMatchObject({ code: 'FILE_UNWRITABLE', message: expect.stringMatching(/^Could not be deleted: the earlier state of a .*gen-1.*\. Deleted: nothing\.$/) })
    expect(previousOf('a')).toBe(1)
    const undone = await store.undo('a', {}).then(({ generation }) => generation, (error: BridgeError) => error.message)
    expect(undone).toEqual(isWhole ? 1 : 'The earlier state of `a` is damaged.')
    if (isWhole) await store.undo('a', {})
  } finally {
    thaw()
  }
  await clean()
  expect([previousOf('a'), existsSync(store.generation('a', 1))]).toEqual([null, false])
})

test('a cancel says what was deleted before it and what is left', async () => {
  await env('a')
  await downloads()
  const abort = new AbortController()
  const sweep = store.sweep.bind(store)
  vi.spyOn(store, 'sweep').mockImplementation(() => sweep().then(() => abort.abort()))
  await expect(clean(abort.signal)).rejects.toMatchObject({
    code: 'CANCELLED',
    message: expect.stringMatching(/^Cancelled\. Deleted before: broken download .*, downloaded wheels .*\. Left: the earlier state of a /),
    hint: expect.not.stringContaining('Nothing was changed'),
    details: { left: [expect.stringContaining('of a')] },
  })
  expect(previousOf('a')).toBe(1)
})

test('a cancel before anything is deleted changes nothing, and says so', async () => {
  await env('a')
  await expect(clean(AbortSignal.abort())).rejects.toMatchObject({ code: 'CANCELLED', hint: 'Nothing was changed.' })
  expect(previousOf('a')).toBe(1)
})
