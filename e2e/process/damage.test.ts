/** Every kind of damage in every file of ours: the bridge starts and serves, and leaves what it cannot read as it is. */
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { PYTHON } from '../../scripts/devPython.ts'
import { BareBridge } from '../support/bareBridge.ts'

const record = { schema: 1, id: 'alpha', kind: 'overlay', pack: 'alpha', generation: 1, previous: null, interpreter: PYTHON, host_site: null, combination: null, requirements_hash: 'x', packages: [], created: 1 }
const FILES: Record<string, unknown> = {
  'state.json': { schema: 1, isolated: ['alpha'], classes: { alpha: { A: false } } },
  'packs.json': { schema: 1, packs: { beta: { dir: '/nowhere/beta', project: null, repository: null, others: [] } } },
  'settings.toml': 'offline = true\n',
  'jobs/queue.json': { schema: 1, jobs: [] },
  'envs/alpha/env.json': record,
  'envs/alpha/gen-1/envmanager.json': record,
  'classes/alpha.json': { pack: 'alpha' },
  'run/bridge.json': { protocol: 1, port: 1, socket: null, token: 'a'.repeat(64), pid: 1, segments: null },
  'logs/bridge.ndjson': '{"time":"2026-01-01T00:00:00.000Z","event":"bridge"}\n',
}
const textOf = (content: unknown): string => (typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`)

const DAMAGES: Record<string, (path: string, content: unknown) => void> = {
  empty: (path) => writeFileSync(path, ''),
  half: (path, content) => writeFileSync(path, textOf(content).slice(0, Math.ceil(textOf(content).length / 2))),
  'of another type': (path, content) => writeFileSync(path, typeof content === 'string' ? 'offline = [1, {a = 2}]\n' : '[1, "x", null]'),
  'of a newer version': (path, content) => writeFileSync(path, typeof content === 'string' ? `${content}unheard_of = 1\n` : textOf({ ...(content as object), schema: 99, protocol: 99, unheard_of: {} })),
  'NUL bytes': (path) => writeFileSync(path, Buffer.alloc(4096)),
  'a folder': (path) => mkdirSync(join(path, 'inside'), { recursive: true }),
  'a file that cannot be read': (path) => symlinkSync(path, path),
  '200 MB of garbage': (path) => writeFileSync(path, Buffer.alloc(200 << 20, '{"a":')),
}

let root: string
let bridge: BareBridge | undefined
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'envmanager-damage-'))
  mkdirSync(join(root, 'comfy', 'custom_nodes', 'alpha'), { recursive: true })
  writeFileSync(join(root, 'comfy', 'main.py'), '')
  writeFileSync(join(root, 'comfy', 'custom_nodes', 'alpha', '__init__.py'), 'NODE_CLASS_MAPPINGS = {}\n')
})
afterEach(async () => {
  await bridge?.end()
  bridge = undefined
  rmSync(root, { recursive: true, force: true })
})

/** What stands at a path. */
function print(path: string): string {
  const found = lstatSync(path)
  return found.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : found.isDirectory() ? 'folder' : 'link'
}

/** Whether the packs of a newer version's file are there, what that version wrote beside them, and the pack that was found. */
function hasAllOf(path: string): boolean {
  const { schema, unheard_of: unheard, packs } = JSON.parse(readFileSync(path, 'utf8')) as { schema: number; unheard_of?: object; packs: object }
  return schema === 99 && unheard !== undefined && Object.keys(packs).sort().join() === 'alpha,beta'
}

/** These are made anew at each start or whenever they are wanted, or are written to all the time. */
const OWN_AGAIN = new Set(['run/bridge.json', 'classes/alpha.json', 'logs/bridge.ndjson'])

test.each(Object.keys(FILES).flatMap((file) => Object.keys(DAMAGES).map((damage) => [file, damage] as const)))('%s: %s', async (file, damage) => {
  const home = join(root, 'home')
  const write = (name: string, content: unknown): void => {
    mkdirSync(dirname(join(home, name)), { recursive: true, mode: 0o700 })
    writeFileSync(join(home, name), textOf(content))
  }
  write('.comfyui-envmanager', { schema: 1, made_by: 'comfyui-envmanager', kind: 'home', name: '' })
  for (const [name, content] of Object.entries(FILES)) if (name !== file) write(name, content)
  const path = join(home, file)
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  DAMAGES[damage]?.(path, FILES[file])
  const before = print(path)
  bridge = await BareBridge.start(['--home', home, '--comfyui', join(root, 'comfy')])
  await expect.poll(async () => (await bridge?.snapshot())?.host.checked ?? null, { timeout: 20_000 }).not.toBeNull()
  expect((await bridge.snapshot())?.packs.map(({ id }) => id)).toEqual(['alpha'])
  expect(bridge.stderr).not.toMatch(/A fault of ours|^ +at /m)
  const isAddedTo = file === 'packs.json' && damage === 'of a newer version'
  expect(isAddedTo ? hasAllOf(path) : OWN_AGAIN.has(file) || print(path) === before).toBe(true)
})

test.each([
  ['state.json', '', /^What is isolated is not known, and cannot be changed: .*state\.json cannot be read: it is empty\.$/],
  ['settings.toml', 'offline = [', /^The settings are as they were before: .*settings\.toml:1:/],
])('%s that is damaged while the bridge runs, or before it, is a problem until it is mended', async (file, damaged, problem) => {
  const path = join(root, 'home', file)
  const told = async (): Promise<string[]> => (await bridge?.snapshot())?.host.problems ?? []
  const tells = async (what: RegExp, is = true): Promise<void> => {
    await expect.poll(async () => (await told()).some((text) => what.test(text)), { timeout: 20_000 }).toBe(is)
  }
  bridge = await BareBridge.start(['--home', join(root, 'home'), '--comfyui', join(root, 'comfy')])
  await expect.poll(async () => (await bridge?.snapshot())?.host.checked ?? null, { timeout: 20_000 }).not.toBeNull()
  writeFileSync(path, damaged)
  await tells(problem)
  writeFileSync(path, textOf(FILES[file]))
  await tells(problem, false)
  writeFileSync(path, damaged)
  await bridge.end()
  bridge = await BareBridge.start(['--home', join(root, 'home'), '--comfyui', join(root, 'comfy')])
  await tells(/ (is|are) not known/)
  writeFileSync(path, textOf(FILES[file]))
  await tells(/ (is|are) not known.*cannot be read|toml:1:/, false)
})
