import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, parse } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { cacheFolder, refuseForeign, takeHome } from './home'
import { isMarked, MARK, markFolder } from './mark'

let base: string
let home: string
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'envmanager-home-'))
  home = join(base, 'home')
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(base, { recursive: true, force: true })
})

function put(path: string, content: unknown = ''): void {
  mkdirSync(dirname(join(base, path)), { recursive: true })
  writeFileSync(join(base, path), typeof content === 'string' ? content : JSON.stringify(content))
}
const tree = (): string[] => readdirSync(base, { recursive: true, encoding: 'utf8' }).map((name) => `${name} ${statSync(join(base, name)).mode}`).sort()
const check = (folder = home, comfyui: string | null = null, cache = join(folder, 'cache')): void =>
  refuseForeign({ home: folder, cache, comfyui, base: comfyui && join(base, 'data'), temp: comfyui && join(base, 'scratch', 'temp') })
const taken = async (folder = home): Promise<boolean> => {
  check(folder)
  await takeHome({ home: folder, cache: join(folder, 'cache') })
  return isMarked(folder, 'home')
}

const RECORD = { schema: 1, id: 'a', kind: 'overlay', pack: 'a', generation: 1, previous: null, interpreter: '/p', host_site: null, combination: null, requirements_hash: '', packages: [], created: 1 }
const LINE = `${JSON.stringify({ seq: 1, time: 1, level: 'info', phase: 'queued', text: 'x' })}\n`

test.each<[string, () => string, RegExp]>([
  ['the root of a disk', () => parse(base).root, /root of a disk/],
  ['the user’s own folder', () => (vi.stubEnv('HOME', base), base), /your own home folder/],
  ['the user’s own folder by a link', () => (vi.stubEnv('HOME', base), symlinkSync(base, `${base}-link`), `${base}-link`), /your own home folder/],
  ['a pack’s folder', () => join(base, 'custom_nodes', 'pack'), /node packs/],
  ['a folder in a pack’s', () => join(base, 'custom_nodes', 'pack', 'new', 'home'), /node packs/],
  ['the folder of packs', () => join(base, 'custom_nodes'), /node packs/],
  ['ComfyUI’s folder', () => join(base, 'ComfyUI'), /ComfyUI’s own folder/],
  ['the folder that ComfyUI empties', () => join(base, 'ComfyUI', 'temp', 'envs'), /empties it/],
  ['the base folder of a ComfyUI that has its folders elsewhere', () => join(base, 'data'), /ComfyUI’s own folder/],
  ['the folder that such a one empties', () => join(base, 'data', 'temp', 'envs'), /empties it/],
  ['the folder that it was told to empty', () => join(base, 'scratch', 'temp'), /empties it/],
  ['a folder in that one, by a link', () => (mkdirSync(join(base, 'scratch', 'temp'), { recursive: true }), symlinkSync(join(base, 'scratch'), `${base}-link`), join(`${base}-link`, 'temp', 'envs')), /empties it/],
  ['a folder that `~` stands for, where that is not known', () => join(base, '~', 'envs'), /`~`/],
  ['miniconda', () => (put('conda/envs/py311/bin/python'), put('conda/conda-meta/history'), join(base, 'conda')), /holds `conda-meta`/],
  ['a folder that only has an `envs` of conda', () => (put('conda/envs/py311/thesis.npz', 'years'), join(base, 'conda')), /nothing shows that we have made it/],
  ['a folder with empty folders of our names', () => (mkdirSync(join(home, 'run'), { recursive: true }), mkdirSync(join(home, 'envs')), home), /nothing shows/],
  ['a folder of ours with somebody’s file, and no mark', () => (put('home/state.json', { schema: 1, isolated: [] }), put('home/thesis.tex'), home), /holds `thesis.tex`/],
  ['somebody’s state.json', () => (put('home/state.json', { theme: 'dark' }), home), /nothing shows/],
  ['somebody’s locks', () => (put('home/locks/db.lock', 'pid 1'), home), /nothing shows/],
  ['a folder with a copied record', () => (put('home/envs/copy/env.json', RECORD), home), /nothing shows/],
  ['a file', () => (put('home'), home), /it is no folder/],
])('%s is refused, and nothing in it is made or changed', (_, folder, said) => {
  const path = folder()
  const before = tree()
  expect(() => check(path, join(base, 'ComfyUI'))).toThrow(said)
  expect(tree()).toEqual(before)
  rmSync(`${base}-link`, { force: true })
})

test('the error says which folder, why, and what to do', () => {
  put('home/thesis.tex')
  expect(() => check()).toThrow(expect.objectContaining({ code: 'NOT_OURS', message: `${home} cannot be the folder for environments: it holds \`thesis.tex\`, which we have not made.`, hint: expect.stringContaining('COMFY_ENV_HOME') }))
})

test.each<[string, () => void]>([
  ['absent', () => undefined],
  ['empty', () => mkdirSync(home)],
  ['prepared by its user', () => (put('home/settings.toml', 'offline = true'), put('home/allow-remote'), put('home/.DS_Store'))],
  ['with choices of an earlier version', () => put('home/state.json', { schema: 1, isolated: ['a'] })],
  ['with choices of a newer version', () => put('home/state.json', { schema: 1, isolated: ['a'], more: true })],
  ['with an environment of an earlier version', () => (put('home/envs/a/env.json', RECORD), put('home/envs/py311/thesis.npz'))],
  ['with an environment whose record is lost', () => put('home/envs/a/gen-1/envmanager.json', RECORD)],
  ['with a snapshot', () => put('home/snapshots/s/snapshot.json', { schema: 1, id: 's', site: '/s', kept: [] })],
  ['with locks', () => put('home/locks/bridge.lock')],
  ['with a journal', () => put('home/logs/bridge.ndjson', `${JSON.stringify({ time: new Date().toISOString(), event: 'bridge' })}\n{}`)],
  ['with a job’s log', () => (put('home/jobs/job-0000001.ndjson', LINE), put('home/plan-AbCdEf/requirements.in'))],
  ['with a queue', () => put('home/jobs/queue.json', { schema: 1, jobs: [] })],
  ['with the log of a bridge that never came up', () => (put('home/run/bridge.log'), put('home/run/classes.json', '{}'))],
  ['with downloads', () => put(`home/cache/pages/${'0'.repeat(64)}.json`, { url: 'u', contentType: 't', text: '', next: null, etag: null, modified: null, absent: false })],
  ['with downloads beside its environments', () => (put('home/uv/.lock'), put('home/wheels/x'), put('home/locks/in-use.lock'))],
  ['whose mark is damaged', () => (put(`home/${MARK}`, '{'), put('home/locks/bridge.lock'))],
])('a home %s is ours, and gets our mark', async (_, make) => {
  make()
  expect(await taken()).toBe(true)
  put('home/notes.txt') // from here on the mark says it
  expect(await taken()).toBe(true)
})

test.each(['envs', 'run', 'cache', 'jobs', 'locks', 'snapshots'])('a home with a link in place of `%s` is refused: nothing behind it is touched', async (name) => {
  expect(await taken()).toBe(true)
  put('elsewhere/other.sock', 'not yours')
  symlinkSync(join(base, 'elsewhere'), join(home, name))
  expect(() => check()).toThrow(expect.objectContaining({ code: 'NOT_OURS', message: expect.stringContaining(`${join(home, name)} is a link`) }))
})

test('the folder for downloads may lie in the home, or be it', async () => {
  put('home/locks/bridge.lock')
  put('home/downloads/locks/in-use.lock')
  expect(() => check(home, null, join(home, 'downloads'))).not.toThrow()
  put('home/theirs/x')
  expect(() => check(home, null, join(home, 'downloads'))).toThrow(/holds `theirs`/)
  put('home/cache/mine/x')
  for (const named of [home, join(home, 'cache')]) expect(cacheFolder(named, home)).toBe(join(home, 'cache'))
})

test('a home that is itself named by a link is ours', async () => {
  mkdirSync(join(base, 'disk'))
  symlinkSync(join(base, 'disk'), home)
  expect(() => check()).not.toThrow()
  await takeHome({ home, cache: join(home, 'cache') })
  expect(isMarked(join(base, 'disk'), 'home')).toBe(true)
  expect(() => check()).not.toThrow()
})

test('a home in an environment of ours is refused: whoever deletes that would delete it', async () => {
  await markFolder(join(base, 'envs', 'a'), 'env', 'a')
  for (const path of ['envs/a', 'envs/a/gen-1/home']) expect(() => check(join(base, path))).toThrow(/another folder of ours/)
})

test('a home that we make is for its user alone, whatever the umask; one that was there keeps its rights', async () => {
  const before = process.umask(0)
  try {
    mkdirSync(join(base, 'there'))
    chmodSync(join(base, 'there'), 0o755)
    for (const path of ['there', 'home']) expect(await taken(join(base, path))).toBe(true)
  } finally {
    process.umask(before)
  }
  expect(['there', 'home'].map((path) => statSync(join(base, path)).mode & 0o777)).toEqual([0o755, 0o700])
})

test('a home that cannot be written is no error here: who writes says it', async () => {
  put('home/x')
  await takeHome({ home: join(home, 'x', 'y'), cache: join(home, 'x', 'y', 'cache') })
  expect(readFileSync(join(home, 'x'), 'utf8')).toBe('')
})

test('downloads in a folder that holds anything else get a folder of their own; one that is ours is used itself', async () => {
  const cache = join(base, 'downloads')
  expect(cacheFolder(null, home)).toBe(join(home, 'cache'))
  expect(cacheFolder(cache, home)).toBe(cache)
  await takeHome({ home, cache })
  expect([isMarked(cache, 'cache'), existsSync(join(home, 'cache'))]).toEqual([true, false])
  put('downloads/wheels/mine/flash.whl')
  expect(cacheFolder(cache, home)).toBe(cache)
  put('theirs/wheels/mine/flash.whl', 'built for six hours')
  const own = cacheFolder(join(base, 'theirs'), home)
  expect(own).toBe(join(base, 'theirs', 'comfyui-envmanager'))
  await takeHome({ home, cache: own })
  expect([readdirSync(join(base, 'theirs')).sort(), isMarked(own, 'cache')]).toEqual([['comfyui-envmanager', 'wheels'], true])
  put('earlier/locks/in-use.lock')
  put('earlier/wheels/mine/flash.whl')
  expect(cacheFolder(join(base, 'earlier'), home)).toBe(join(base, 'earlier'))
  put('custom_nodes/comfyui-envmanager/__init__.py')
  expect(() => check(home, null, cacheFolder(join(base, 'custom_nodes'), home))).toThrow(/cannot be the folder for downloads/)
})
