import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { EnvRecord } from '../../schemas/env'
import { BridgeError } from '../errors/bridgeError'
import { takeLock } from '../osLock'
import { buildEnv, type BuildInput } from './build'
import { MARK, markFolder } from '../mark'
import { cleanUp } from './cleanup'
import { cacheLock } from './download'
import { makeGeneration } from './envFolders'
import { EnvStore } from './envStore'
import type { Uv } from './uv'

let home: string
let store: EnvStore
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'envmanager-envs-'))
  store = new EnvStore(home)
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const recordOf = (generation: number, previous: number | null = null): EnvRecord => ({
  schema: 1, id: 'a', kind: 'overlay', pack: 'a', generation, previous, interpreter: '/p', host_site: null, combination: null, requirements_hash: '', packages: [], created: 1,
})
const envFile = (): string => join(home, 'envs', 'a', 'env.json')
const inEnv = (): string[] => readdirSync(join(home, 'envs', 'a')).filter((name) => name !== MARK).sort()

/** A whole generation on disk. */
function generation(number: number, previous: number | null = null): EnvRecord {
  const folder = store.generation('a', number)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'envmanager.json'), JSON.stringify(recordOf(number, previous)))
  return recordOf(number, previous)
}
function env(): void {
  generation(1)
  writeFileSync(envFile(), JSON.stringify(generation(2, 1)))
}

const uv = (run: () => Promise<string>): Uv => ({ run, version: async () => 'uv' }) as unknown as Uv
const build = (more: Partial<BuildInput>): Promise<EnvRecord> =>
  buildEnv({
    env: 'a', packDir: null, interpreter: '/p', hostSites: [], store, cache: join(home, 'cache'), reporter: { phase: vi.fn<() => void>(), log: vi.fn<() => void>() }, signal: new AbortController().signal, http: undefined as never,
    plan: async () => ({ plan: undefined as never, lock: { schema: 1, pack: 'a', kind: 'overlay', python: '3.11', requirements: [], probe: [], direct: [], packages: [] } }),
    uv: uv(() => Promise.reject(new BridgeError('UV_FAILED', 'no'))),
    ...more,
  })
const busy = { onWait: (): never => { throw new BridgeError('ENV_BUSY', 'It is being changed.') } }

test.each([
  ['truncated', '{"schema": 1, "id"', 'ENV_BROKEN'],
  ['of a newer version', '{"schema": 2, "other": true}', 'FILE_UNREADABLE'],
])('an install that fails beside a record that is %s deletes nothing and writes nothing over it', async (_, text, code) => {
  env()
  writeFileSync(envFile(), text)
  await expect(build({})).rejects.toMatchObject({ code, message: expect.stringContaining(envFile()) })
  expect(inEnv()).toEqual(['env.json', 'gen-1', 'gen-2'])
  expect(readFileSync(envFile(), 'utf8')).toBe(text)
})

test('an install that fails deletes its own generation, and a folder that it made', async () => {
  await expect(build({})).rejects.toMatchObject({ code: 'UV_FAILED' })
  expect(existsSync(join(home, 'envs', 'a'))).toBe(false)
  mkdirSync(join(home, 'envs', 'a'), { recursive: true })
  writeFileSync(join(home, 'envs', 'a', 'notes.txt'), 'mine')
  await expect(build({})).rejects.toMatchObject({ code: 'UV_FAILED' })
  expect(inEnv()).toEqual(['notes.txt'])
})

test('nothing else changes an env while an install is at it: what may not wait is refused, what may waits for its end', async () => {
  env()
  const seen: string[] = []
  const { promise: go, resolve } = Promise.withResolvers<void>()
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
  const run = async (): Promise<string> => {
    begin()
    await go
    seen.push(existsSync(store.generation('a', 3)) ? 'the install ends whole' : 'its folder was deleted')
    throw new BridgeError('UV_FAILED', 'no')
  }
  const install = build({ uv: uv(run) }).catch(() => undefined)
  await begun
  for (const change of ['undo', 'remove', 'forgetPrevious'] as const) await expect(store[change]('a', busy)).rejects.toMatchObject({ code: 'ENV_BUSY' })
  const items = await cleanUp(store, join(home, 'cache'), uv(async () => ''), true, () => busy)
  expect(items).toEqual([{ what: expect.stringMatching(/^the earlier state of a .*: left, it is in use$/), bytes: 0 }])
  await store.sweep()
  expect(inEnv()).toEqual(['env.json', 'gen-1', 'gen-2', 'gen-3'])
  const undone = store.undo('a', {}).then(() => seen.push('undone'))
  const removed = store.remove('a', {}).then(() => seen.push('deleted'))
  resolve()
  await Promise.all([install, undone, removed])
  expect(seen).toEqual(['the install ends whole', 'undone', 'deleted'])
  expect(readdirSync(join(home, 'envs'))).toEqual([])
})

test('a second install says what it waits for, and can be cancelled meanwhile', async () => {
  const abort = new AbortController()
  await store.exclusive('a', {}, async () => {
    const log = vi.fn<() => void>(() => abort.abort())
    await expect(build({ signal: abort.signal, reporter: { phase: vi.fn<() => void>(), log } })).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(log).toHaveBeenCalledWith('waiting for another change of a')
  })
})

test('kept downloads stay while anybody installs out of them', async () => {
  const cache = join(home, 'cache')
  await markFolder(join(cache, 'wheels', 'abc'), 'wheel', 'abc')
  writeFileSync(join(cache, 'wheels', 'abc', 'a.whl'), 'wheel')
  const ended = await takeLock(cacheLock(cache), { shared: true })
  expect(await cleanUp(store, cache, uv(async () => ''), true, () => busy)).toMatchObject([{ bytes: 0 }])
  expect(existsSync(join(cache, 'wheels', 'abc', 'a.whl'))).toBe(true)
  ended()
  expect(await cleanUp(store, cache, uv(async () => ''), true, () => busy)).toMatchObject([{ bytes: expect.any(Number) }])
  expect(readdirSync(join(cache, 'wheels'))).toEqual([])
})

test.each([
  ['damaged', (): void => writeFileSync(envFile(), '{')],
  ['lost', (): void => rmSync(envFile())],
])('a %s record is said, its env is neither used nor deleted, and repair takes up its newest whole generation', async (_, damage) => {
  env()
  mkdirSync(store.generation('a', 9)) // what a killed install has left
  damage()
  expect(await store.list()).toEqual([])
  expect(await store.damaged()).toMatchObject([{ id: 'a', record: recordOf(2, 1), repairable: true }])
  expect(await store.problems()).toEqual([expect.stringMatching(/env\.json .*comfy-env repair a/)])
  await store.sweep()
  expect(inEnv()).toContain('gen-2')
  expect(await store.find('a')).toEqual(recordOf(2, 1))
  expect(await store.recover('a')).toEqual(recordOf(2, 1))
  expect(await store.read('a')).toEqual(recordOf(2, 1))
  expect(await store.problems()).toEqual([])
})

test('undo brings back what a newer version said of that generation, and keeps what it said of none', async () => {
  env()
  const put = (path: string, more: object): void => writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), schema: 2, ...more }))
  put(join(store.generation('a', 1), 'envmanager.json'), { future: 'of gen 1' })
  put(envFile(), { future: 'of gen 2', whole: true })
  await store.undo('a', {})
  expect(JSON.parse(readFileSync(envFile(), 'utf8'))).toEqual({ ...recordOf(1, 2), schema: 2, future: 'of gen 1', whole: true })
})

test('what a kill has left is swept: generations without a name, halves of removals', async () => {
  env()
  await makeGeneration(store.folder('a'), 'a', 7)
  mkdirSync(join(store.generation('a', 7), 'bin'))
  await makeGeneration(store.folder('first'), 'first', 1)
  await makeGeneration(join(home, 'envs', '.removed-b-1'), 'b', 1)
  mkdirSync(join(home, 'envs', '.removed-c-1'))
  writeFileSync(join(home, 'envs', '.removed-c-1', 'env.json'), JSON.stringify({ ...recordOf(1), id: 'c' })) // of an earlier version
  await store.sweep()
  expect(inEnv()).toEqual(['env.json', 'gen-1', 'gen-2'])
  expect(readdirSync(join(home, 'envs'))).toEqual(['a'])
})

/** What somebody else has in a folder of environments. */
const FOREIGN = ['envs/py311/bin/python', 'envs/tf-gpu/gen-1/weights', 'envs/gen-1/x', 'envs/a/notes.txt', 'envs/a/gen-7/thesis.npz', 'envs/a/gen-9x/x', 'envs/.removed-mine-1/x', 'envs/.removed-py311-12ab/thesis.npz', 'envs/Not ours/x', 'envs/file']
function foreign(): void {
  for (const name of FOREIGN) {
    mkdirSync(join(home, name, '..'), { recursive: true })
    writeFileSync(join(home, name), name)
  }
}
const foreignLeft = (): string[] => FOREIGN.filter((name) => existsSync(join(home, name)))

test('nothing that is not ours goes: by a sweep, a switch, a failed install, free space, undo or the deletion of the env that it lies in', async () => {
  env()
  foreign()
  await store.sweep()
  await store.publish(generation(3, 2))
  expect(inEnv()).toEqual(['env.json', 'gen-2', 'gen-3', 'gen-7', 'gen-9x', 'notes.txt'])
  await expect(build({})).rejects.toMatchObject({ code: 'UV_FAILED' })
  await store.undo('a', {})
  await cleanUp(store, join(home, 'cache'), uv(async () => ''), true, () => busy)
  expect(foreignLeft()).toEqual(FOREIGN)
  await store.remove('a', {})
  await store.sweep()
  expect(inEnv()).toEqual(['gen-7', 'gen-9x', 'notes.txt'])
  expect(foreignLeft()).toEqual(FOREIGN)
  expect(await store.list()).toEqual([])
  for (const id of ['py311', 'tf-gpu', 'file']) await expect(store.remove(id, {})).rejects.toMatchObject({ code: 'NOT_OURS' })
  expect(foreignLeft()).toEqual(FOREIGN)
})

test('a half-built generation of an earlier version has no proof and stays; one whose record is there goes', async () => {
  env()
  generation(5)
  mkdirSync(join(store.generation('a', 6), 'bin'), { recursive: true })
  await store.sweep()
  expect(inEnv()).toEqual(['env.json', 'gen-1', 'gen-2', 'gen-6'])
  expect(await store.stage('a', recordOf(2, 1))).toMatchObject({ generation: 7 })
})

test('a copy of an environment is nobody’s: it is not used, nor deleted, and what it says deletes nothing', async () => {
  env()
  await makeGeneration(store.folder('a'), 'a', 2)
  cpSync(store.folder('a'), store.folder('a-backup'), { recursive: true })
  await store.publish({ ...generation(3, 2), previous: 2 })
  const copy = (): string[] => readdirSync(store.folder('a-backup')).filter((name) => name !== MARK).sort()
  await store.sweep()
  expect((await store.list()).map(({ id, generation: number }) => [id, number])).toEqual([['a', 3]])
  expect([inEnv(), copy()]).toEqual([['env.json', 'gen-2', 'gen-3'], ['env.json', 'gen-1', 'gen-2']])
  await expect(store.remove('a-backup', {})).rejects.toMatchObject({ code: 'NOT_OURS' })
  await expect(build({ env: 'a-backup' })).rejects.toMatchObject({ code: 'NOT_OURS' })
  expect(copy()).toEqual(['env.json', 'gen-1', 'gen-2'])
})

test('nothing is changed behind a link, in place of an env, of a generation or of all envs', async () => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'envmanager-elsewhere-'))
  const count = (): number => readdirSync(elsewhere, { recursive: true }).length
  try {
    env()
    generation(5)
    cpSync(join(home, 'envs', 'a'), join(elsewhere, 'a'), { recursive: true })
    rmSync(join(home, 'envs', 'a'), { recursive: true })
    const before = count()
    symlinkSync(join(elsewhere, 'a'), store.folder('a'))
    const changes = [() => store.remove('a', {}), () => store.undo('a', {}), () => store.forgetPrevious('a', {}), () => build({})]
    const refused = async (): Promise<void> => {
      await store.sweep()
      for (const change of changes) await expect(change()).rejects.toMatchObject({ code: 'NOT_OURS' })
      expect(count()).toBe(before)
    }
    await refused()
    rmSync(join(home, 'envs'), { recursive: true })
    symlinkSync(elsewhere, join(home, 'envs'))
    await refused()
    rmSync(join(home, 'envs'))
    env()
    symlinkSync(join(elsewhere, 'a', 'gen-5'), store.generation('a', 5))
    await store.sweep()
    expect(count()).toBe(before)
  } finally {
    rmSync(elsewhere, { recursive: true })
  }
})

test('the mark of a generation is there before anything else, and goes last', async () => {
  const { folder } = await store.stage('a', null)
  expect(readdirSync(folder)).toEqual([MARK])
  expect(readdirSync(store.folder('a')).sort()).toEqual([MARK, 'gen-1'])
  await store.giveUp('a', folder)
  expect(existsSync(store.folder('a'))).toBe(false)
})

test('an environment of an earlier version is found under its older id, by its own pack and by no other', async () => {
  const older = 'fancy-pack-e2b8ce'
  mkdirSync(store.folder(older), { recursive: true })
  writeFileSync(join(store.folder(older), 'env.json'), JSON.stringify({ ...recordOf(1), id: older, pack: 'Fancy Pack' }))
  expect(store.idOf('Fancy Pack')).toBe(older)
  expect(await store.ofPack('Fancy Pack')).toMatchObject({ id: older })
  expect(store.idOf(older)).toMatch(/^fancy-pack-e2b8ce-[0-9a-f]{16}$/)
  expect(await store.ofPack(older)).toBe(null)
  // the record is lost: its generation says whose it is
  mkdirSync(store.generation(older, 1))
  writeFileSync(join(store.generation(older, 1), 'envmanager.json'), JSON.stringify({ ...recordOf(1), id: older, pack: 'Fancy Pack' }))
  rmSync(join(store.folder(older), 'env.json'))
  expect(store.idOf('Fancy Pack')).toBe(older)
  // and the other way round, where the pack of that very name came first
  writeFileSync(join(store.folder(older), 'env.json'), JSON.stringify({ ...recordOf(1), id: older, pack: older }))
  rmSync(store.generation(older, 1), { recursive: true })
  expect([store.idOf(older), store.idOf('Fancy Pack')]).toEqual([older, expect.stringMatching(/^fancy-pack-[0-9a-f]{16}$/)])
})

test('free space takes what we have downloaded; what somebody put there stays, and a uv cache with other files is not pruned', async () => {
  const cache = join(home, 'cache')
  await markFolder(home, 'home')
  const put = (name: string, text = name): void => {
    mkdirSync(join(cache, name, '..'), { recursive: true })
    writeFileSync(join(cache, name), text)
  }
  await markFolder(join(cache, 'wheels', 'abc'), 'wheel', 'abc')
  put('wheels/abc/ours.whl')
  const earlier = createHash('sha256').update('earlier').digest('hex').slice(0, 32)
  put(`wheels/${earlier}/earlier.whl`, 'earlier')
  const theirs = ['wheels/mine/flash_attn-2.8.whl', 'wheels/notes.txt', `wheels/${'0'.repeat(32)}/built.whl`, 'wheels/mine/x.whl.part']
  theirs.forEach((name) => put(name))
  for (const name of ['wheels/abc/old.whl.part', 'wheels/mine/x.whl.part']) {
    put(name)
    utimesSync(join(cache, name), 1, 1)
  }
  const run = vi.fn<() => Promise<string>>(async () => '')
  put('uv/wheels-v5/x')
  put('uv/notes.txt')
  expect((await cleanUp(store, cache, uv(run), false, () => busy)).map(({ what }) => what)).toEqual(['broken download old.whl.part', expect.stringContaining('downloaded wheels')])
  await cleanUp(store, cache, uv(run), true, () => busy)
  expect(readdirSync(join(cache, 'wheels')).sort()).toEqual(['0'.repeat(32), 'mine', 'notes.txt'])
  expect(theirs.filter((name) => !existsSync(join(cache, name)))).toEqual([])
  expect(run).not.toHaveBeenCalled()
  rmSync(join(cache, 'uv', 'notes.txt'))
  await cleanUp(store, cache, uv(run), true, () => busy)
  expect(run).toHaveBeenCalledWith(['cache', 'prune'])
})
