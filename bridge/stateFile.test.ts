import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import * as files from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { sweepUnfinished } from './files'
import { readState, updateState } from './stateFile'

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof files>()
  return { ...real, readFile: vi.fn<typeof real.readFile>(real.readFile), rename: vi.fn<typeof real.rename>(real.rename) }
})

const Schema = z.strictObject({ schema: z.literal(1), names: z.array(z.string()), inner: z.strictObject({ on: z.boolean() }).optional(), jobs: z.array(z.strictObject({ id: z.string() })).optional() })
type Content = z.infer<typeof Schema>

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'envmanager-state-'))
  path = join(folder, 'state.json')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const failure = (code: string): Error => Object.assign(new Error(`${code}: it failed, read`), { code })
const update = (change: (before: Content | null) => Content): Promise<Content> => updateState(path, join(folder, 'locks', 'state.lock'), Schema, change)
const add = (name: string): Promise<Content> => update((before) => ({ schema: 1, ...before, names: [...(before?.names ?? []), name] }))
const onDisk = (): unknown => JSON.parse(readFileSync(path, 'utf8'))

test('of many changes at once none is lost', async () => {
  const names = Array.from({ length: 30 }, (_, at) => String(at))
  await Promise.all(names.map(add))
  expect(onDisk()).toEqual({ schema: 1, names })
})

test.each([
  ['EIO', (): void => void vi.mocked(files.readFile).mockRejectedValueOnce(failure('EIO'))],
  ['EMFILE', (): void => void vi.mocked(files.readFile).mockRejectedValueOnce(failure('EMFILE'))],
  ['not JSON', (): void => writeFileSync(path, '{"schema": 1, "names": ["a"')],
  ['empty', (): void => writeFileSync(path, '')],
  ['not what we wrote', (): void => writeFileSync(path, '{"schema": 1, "names": 7}')],
  ['not what we wrote', (): void => writeFileSync(path, '[]')],
  ['a newer version wrote it (format 2', (): void => writeFileSync(path, '{"schema": 2, "names": {"a": true}}')],
])('%s: an error that names file and reason, and nothing is written', async (reason, damage) => {
  writeFileSync(path, '{"schema": 1, "names": ["a"]}')
  damage()
  const before = readFileSync(path, 'utf8')
  const error = await add('b').catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'FILE_UNREADABLE', message: expect.stringContaining(path) })
  expect((error as Error).message).toContain(reason)
  expect(readFileSync(path, 'utf8')).toBe(before)
})

test('what a newer version has written is used as far as it is known, kept, and said', async () => {
  writeFileSync(path, JSON.stringify({ schema: 3, names: ['a'], inner: { on: true, more: 1 }, later: { b: 2 }, jobs: [{ id: 'x', extra: 1 }, { id: 'y', extra: 2 }] }))
  const read = await readState(path, Schema)
  expect(read?.value).toEqual({ schema: 1, names: ['a'], inner: { on: true }, jobs: [{ id: 'x' }, { id: 'y' }] })
  expect(read?.note).toMatch(/newer version: .*later.* is kept and not used/)
  await update((before) => ({ schema: 1, names: ['a', 'b'], inner: { on: false }, jobs: before?.jobs?.slice(1) }))
  expect(onDisk()).toEqual({ schema: 3, names: ['a', 'b'], inner: { on: false, more: 1 }, later: { b: 2 }, jobs: [{ id: 'y', extra: 2 }] })
})

test('a write that fails leaves the old content and nothing beside it, and says why', async () => {
  await add('a')
  vi.mocked(files.rename).mockRejectedValueOnce(failure('EIO'))
  await expect(add('b')).rejects.toMatchObject({ code: 'FILE_UNWRITABLE', message: expect.stringContaining('EIO') })
  vi.mocked(files.rename).mockRejectedValueOnce(failure('ENOSPC'))
  await expect(add('b')).rejects.toMatchObject({ code: 'DISK_FULL' })
  expect(onDisk()).toEqual({ schema: 1, names: ['a'] })
  expect(readdirSync(folder).sort()).toEqual(['locks', 'state.json'])
})

test('what killed processes were writing is swept once it is old, what a living one writes is not', async () => {
  const left = ['state.json.0123456789ab.tmp', 'state.json.999999999-0123456789ab.tmp', `state.json.${process.pid}-0123456789ab.tmp`, 'notes.tmp']
  left.forEach((name) => writeFileSync(join(folder, name), ''))
  await sweepUnfinished(folder)
  expect(readdirSync(folder).sort()).toEqual([...left].sort())
  left.forEach((name) => utimesSync(join(folder, name), 1, 1))
  await sweepUnfinished(folder)
  expect(readdirSync(folder).sort()).toEqual(left.slice(2).sort())
})

test('a link and its file’s mode stay, and a byte that is no UTF-8 is not written back as another', async () => {
  const real = join(folder, 'elsewhere.json')
  writeFileSync(real, '{"schema": 1, "names": ["a"]}', { mode: 0o600 })
  symlinkSync(real, path)
  await add('b')
  expect([lstatSync(path).isSymbolicLink(), statSync(real).mode & 0o777, onDisk()]).toEqual([true, 0o600, { schema: 1, names: ['a', 'b'] }])
  const bytes = Buffer.from('{"schema": 1, "names": ["caf\u00e9"]}', 'latin1')
  writeFileSync(real, bytes)
  await expect(add('c')).rejects.toMatchObject({ code: 'FILE_UNREADABLE', message: expect.stringContaining('line 1 is not UTF-8') })
  expect(readFileSync(real)).toEqual(bytes)
})
