import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { EnvRecord } from '../../schemas/env'
import { BridgeError } from '../errors/bridgeError'
import { markFolder } from '../mark'
import { cleanUp } from './cleanup'
import { makeGeneration } from './envFolders'
import { EnvStore } from './envStore'
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
const clean = (signal?: AbortSignal) => cleanUp(store, join(home, 'cache'), uv, true, signal ? { signal } : {})

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

test('where the disk is full an earlier state makes the space that its record is written with', async () => {
  await env('a')
  const publish = store.publish.bind(store)
  const gone: boolean[] = []
  vi.spyOn(store, 'publish').mockImplementation(async (record) => {
    gone.push(!existsSync(store.generation('a', 1)))
    return gone.at(-1) ? publish(record) : Promise.reject(full)
  })
  await expect(clean()).resolves.toMatchObject([{ what: expect.stringContaining('the earlier state of a') }])
  expect([gone, previousOf('a'), existsSync(store.generation('a', 2))]).toEqual([[false, true], null, true])
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
