import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { markFolder } from '../mark'
import { removeGeneration } from './envFolders'

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
