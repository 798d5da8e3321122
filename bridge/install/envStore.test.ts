import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { EnvRecord } from '../../schemas/env'
import { BridgeError } from '../errors/bridgeError'
import { takeLock } from '../osLock'
import { buildEnv, type BuildInput } from './build'
import { cleanUp, sweepHome } from './cleanup'
import { cacheLock } from './download'
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
const inEnv = (): string[] => readdirSync(join(home, 'envs', 'a')).sort()

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
    mkdirSync(store.generation('a', 3), { recursive: true })
    begin()
    await go
    seen.push(existsSync(store.generation('a', 3)) ? 'the install ends whole' : 'its folder was deleted')
    throw new BridgeError('UV_FAILED', 'no')
  }
  const install = build({ uv: uv(run) }).catch(() => undefined)
  await begun
  for (const change of ['undo', 'remove', 'forgetPrevious'] as const) await expect(store[change]('a', busy)).rejects.toMatchObject({ code: 'ENV_BUSY' })
  const items = await cleanUp(store, join(home, 'cache'), uv(async () => ''), true, busy)
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
  mkdirSync(join(cache, 'wheels'), { recursive: true })
  writeFileSync(join(cache, 'wheels', 'a.whl'), 'wheel')
  const ended = await takeLock(cacheLock(cache), { shared: true })
  expect(await cleanUp(store, cache, uv(async () => ''), true, busy)).toMatchObject([{ bytes: 0 }])
  expect(existsSync(join(cache, 'wheels', 'a.whl'))).toBe(true)
  ended()
  expect(await cleanUp(store, cache, uv(async () => ''), true, busy)).toMatchObject([{ bytes: 5 }])
  expect(existsSync(join(cache, 'wheels'))).toBe(false)
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

test('what a kill has left is swept: generations without a name, halves of removals, turns of older versions', async () => {
  env()
  for (const name of ['gen-1/x', 'gen-7/x']) mkdirSync(join(home, 'envs', 'a', name), { recursive: true })
  mkdirSync(join(home, 'envs', 'first', 'gen-1'), { recursive: true })
  mkdirSync(join(home, 'envs', '.removed-b-1'), { recursive: true })
  writeFileSync(join(home, 'envs', '.removed-b-1', 'env.json'), '{}')
  mkdirSync(join(home, 'envs', 'Not ours'), { recursive: true })
  mkdirSync(join(home, 'jobs', 'a.turns'), { recursive: true })
  writeFileSync(join(home, 'jobs', 'a.turns', '000000000000001-1-1-abcdef'), '')
  writeFileSync(`${envFile()}.0123456789ab.tmp`, '')
  await sweepHome(home, join(home, 'cache'))
  await store.sweep()
  expect(inEnv()).toEqual(['env.json', 'gen-1', 'gen-2'])
  expect(readdirSync(join(home, 'envs')).sort()).toEqual(['Not ours', 'a'])
  expect(readdirSync(join(home, 'jobs'))).toEqual([])
})

test('a generation that workers run on is not deleted, by a sweep, another install or with the env; when they have ended, it is', async () => {
  env()
  const used = await store.use('a')
  expect(used?.record.generation).toBe(2)
  generation(3, 2)
  await store.exclusive('a', {}, () => store.publish(recordOf(4, 3)))
  await store.sweep()
  expect(inEnv()).toEqual(['env.json', 'gen-2', 'gen-3'])
  await expect(store.remove('a', {})).rejects.toMatchObject({ code: 'ENV_BUSY' })
  used?.leave()
  await store.sweep()
  expect(inEnv()).toEqual(['env.json', 'gen-3'])
  await store.remove('a', {})
  expect(existsSync(join(home, 'envs', 'a'))).toBe(false)
})

test('an env that is switched while it is being taken is taken as it is then', async () => {
  env()
  const read = vi.spyOn(store, 'read').mockResolvedValueOnce(recordOf(1))
  const used = await store.use('a')
  expect([used?.record.generation, read.mock.calls.length]).toEqual([2, 4])
  used?.leave()
  expect(await store.use('b')).toBeNull()
})
