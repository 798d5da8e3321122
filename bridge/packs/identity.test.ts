import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isSamePack, packIdentity, plainRepository } from './identity'

let dir: string
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'envmanager-identity-'))))
afterEach(() => rmSync(dir, { recursive: true, force: true }))

function put(file: string, text: string): void {
  mkdirSync(dirname(join(dir, file)), { recursive: true })
  writeFileSync(join(dir, file), text)
}
const PYPROJECT = '[project]\nname = "ComfyUI-Grain"\n[project.urls]\nRepository = "https://forge.example/somebody/Grain"\n[tool.comfy]\nPublisherId = "Somebody"\n'
const clone = (url: string): string => `[core]\n\tbare = false\n[remote "fork"]\n\turl = https://forge.example/other/x\n[remote "origin"]\n\turl = ${url}\n\tfetch = +refs/heads/*\n[branch "main"]\n`

test.each([
  'https://forge.example/Somebody/Grain',
  'https://forge.example/somebody/grain.git/',
  'http://name:word@forge.example/somebody/grain.git',
  'git@forge.example:somebody/Grain.git',
  'ssh://git@forge.example/somebody/grain#main',
])('%s is one repository', (address) => expect(plainRepository(address)).toBe('forge.example/somebody/grain'))

test('a pack is its project, and its clone’s origin before what it says of itself', async () => {
  expect(await packIdentity(dir)).toEqual({ project: null, repository: null })
  put('pyproject.toml', PYPROJECT)
  expect(await packIdentity(dir)).toEqual({ project: 'somebody/comfyui-grain', repository: 'forge.example/somebody/grain' })
  put('.git/config', clone('git@forge.example:a-fork/grain.git'))
  expect(await packIdentity(dir)).toEqual({ project: 'somebody/comfyui-grain', repository: 'forge.example/a-fork/grain' })
})

test.each([
  ['broken', '[project'],
  ['without a publisher', '[project]\nname = "grain"\n'],
  ['of odd kinds', '[project]\nname = 5\n[project.urls]\nRepository = 7\n'],
])('a pyproject.toml %s says nothing', async (_, text) => {
  put('pyproject.toml', text)
  expect(await packIdentity(dir)).toEqual({ project: null, repository: null })
})

test('two projects of one repository are two packs; what says nothing is no other', () => {
  const [one, other] = ['a/x', 'a/y'].map((project) => ({ project, repository: 'f/r' })) as [Parameters<typeof isSamePack>[0], Parameters<typeof isSamePack>[0]]
  expect([isSamePack(one, other), isSamePack(one, { ...one, repository: null }), isSamePack(one, { project: null, repository: 'f/r' })]).toEqual([false, true, true])
  expect(isSamePack({ project: null, repository: null }, { project: null, repository: null })).toBe(false)
})
