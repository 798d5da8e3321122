import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import * as files from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { MARK, markFolder } from '../mark'
import { makeGeneration, removeGeneration } from './envFolders'
import { EnvStore } from './envStore'

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof files>()
  return { ...real, open: vi.fn<typeof real.open>(real.open) }
})

let folder: string
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'envmanager-folders-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const UNFINISHED = '.comfyui-envmanager.4711-0123456789ab.tmp'

/** A generation's folder with these files, in an env's that is ours. */
async function removed(name: string, files: string[]): Promise<string[] | null> {
  await markFolder(folder, 'env', 'a')
  mkdirSync(join(folder, name))
  for (const file of files) writeFileSync(join(folder, name, file), '{')
  await removeGeneration(folder, 'a', name)
  return existsSync(join(folder, name)) ? readdirSync(join(folder, name)) : null
}

test('a generation whose maker was killed before it had its mark goes; one in which somebody has put something stays', async () => {
  expect(await removed('gen-7', [])).toBeNull()
  expect(await removed('gen-8', [UNFINISHED])).toBeNull()
  expect(await removed('gen-9', [UNFINISHED, 'thesis.npz'])).toEqual([UNFINISHED, 'thesis.npz'])
})

/** What a killed deletion of an env has left, with a note of the user's in it. */
async function halfDeleted(): Promise<string> {
  const doomed = join(folder, 'envs', '.removed-a-0123abcd')
  await makeGeneration(doomed, 'a', 1)
  writeFileSync(join(doomed, 'notes.txt'), 'mine')
  return doomed
}
const inEnvs = (name: string): string[] => readdirSync(join(folder, 'envs', name)).sort()

test('what a user has put into an env whose deletion was killed goes back to where it was, also beside a new env', async () => {
  const store = new EnvStore(folder)
  await halfDeleted()
  await store.sweep()
  expect([inEnvs(''), inEnvs('a')]).toEqual([['a'], ['notes.txt']])
  rmSync(join(folder, 'envs', 'a', 'notes.txt'))
  await makeGeneration(store.folder('a'), 'a', 1)
  writeFileSync(join(store.generation('a', 1), 'lib'), 'new')
  await halfDeleted()
  await store.sweep()
  expect([inEnvs(''), inEnvs('a').includes('notes.txt')]).toEqual([['a'], true])
})

test('what cannot go back stays, is said, and goes back once it can', async () => {
  const store = new EnvStore(folder)
  const doomed = await halfDeleted()
  mkdirSync(store.folder('a'))
  writeFileSync(join(store.folder('a'), 'notes.txt'), 'another')
  await store.sweep()
  expect(readdirSync(doomed).sort()).toEqual([MARK, 'notes.txt'])
  expect(await store.problems()).toEqual([expect.stringMatching(/\.removed-a-0123abcd holds what we have not made \(notes\.txt\).* moved back to .*take it from there\.$/)])
  rmSync(join(store.folder('a'), 'notes.txt'))
  await store.sweep()
  expect([inEnvs(''), inEnvs('a'), await store.problems()]).toEqual([['a'], ['notes.txt'], []])
})

test('a deletion that is killed while it gives back what is not ours is gone on with', async () => {
  const store = new EnvStore(folder)
  await markFolder(store.folder('a'), 'env', 'a')
  writeFileSync(join(store.folder('a'), 'notes.txt'), 'mine')
  await store.sweep()
  expect(inEnvs('a')).toEqual(['notes.txt'])
})

test.each([
  ['a generation', 'gen-', ['gen-1', 'notes.txt']],
  ['an environment', MARK, []],
  ['the first generation of an environment', 'gen-', []],
])('a disk that is full when the mark of %s is written leaves no folder behind', async (_, where, before) => {
  const store = new EnvStore(folder)
  if (before.length > 0) {
    await makeGeneration(store.folder('a'), 'a', 1)
    writeFileSync(join(store.folder('a'), 'notes.txt'), 'mine')
  }
  const { open } = await vi.importActual<typeof files>('node:fs/promises')
  vi.mocked(files.open).mockImplementation((path, ...more) => (String(path).includes(where) ? Promise.reject(Object.assign(new Error('ENOSPC: no space left on device, open'), { code: 'ENOSPC' })) : open(path, ...more)))
  try {
    await expect(store.stage('a', null)).rejects.toMatchObject({ code: 'DISK_FULL' })
  } finally {
    vi.mocked(files.open).mockImplementation(open)
  }
  expect(existsSync(store.folder('a')) ? inEnvs('a').filter((name) => name !== MARK) : []).toEqual(before)
  expect(existsSync(store.folder('a'))).toBe(before.length > 0)
})
