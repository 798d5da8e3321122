import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Context } from './context'
import { Sharing } from './sharing'

let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'envmanager-sharing-'))
  const files: Record<string, string[]> = { one: ['__init__.py', 'nodes_one.py'], two: ['__init__.py', 'install.py'], three: ['__init__.py', 'utils.py'], four: ['__init__.py', 'utils.py'], other: ['__init__.py'] }
  for (const [pack, names] of Object.entries(files)) {
    mkdirSync(join(root, 'custom_nodes', pack), { recursive: true })
    names.forEach((name) => writeFileSync(join(root, 'custom_nodes', pack, name), ''))
  }
})

afterEach(() => rmSync(root, { recursive: true, force: true }))

/** Packs that run isolated; `other` has an environment of its own, the rest run on ComfyUI's. */
function sharing(share: boolean, sandboxed: string[] = []): Sharing {
  const own = { kind: 'overlay', interpreter: 'python3', packages: [{ name: 'numpy', version: '1.26.4' }] }
  const context = {
    engine: { settings: { workers: { share }, sandbox: { packs: sandboxed }, comfyui: root }, envs: { ofPack: async (pack: string) => (pack === 'other' ? own : null) } },
    host: null,
    isolated: new Set(['one', 'two', 'three', 'four', 'other']),
  }
  return new Sharing(context as unknown as Context)
}

test('a sandboxed pack shares with none', async () => {
  const shared = sharing(true, ['one'])
  expect(await shared.poolOf('one')).toEqual({ id: 'one', packs: ['one'] })
  expect((await shared.poolOf('two')).packs).toEqual(['four', 'two'])
})

test('by default each pack has a worker of its own', async () => {
  expect(await sharing(false).poolOf('one')).toEqual({ id: 'one', packs: ['one'] })
})

test('packs with equal environments share one, unless they bring a module of one name', async () => {
  const shared = sharing(true)
  const pool = await shared.poolOf('one')
  expect(pool.packs).toEqual(['four', 'one', 'two'])
  expect(await shared.poolOf('two')).toBe(pool)
  expect(await shared.poolOf('three')).toEqual({ id: 'three', packs: ['three'] })
})

test('another environment is another worker', async () => {
  expect(await sharing(true).poolOf('other')).toEqual({ id: 'other', packs: ['other'] })
})
