import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { makeWheel, makeZip, type WheelOptions } from '../testing/makeWheel'
import { Http } from '../sources/http'
import { startFileServer } from '../testing/fileServer'
import { inspectWheel, refuseWrongMetadata } from './inspect'

let folder: string
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'envmanager-inspect-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const NAME = 'a-1.0+cu128torch2.8-cp312-cp312-win_amd64.whl'
const INFO = 'a-1.0+cu128torch2.8.dist-info'

function inspect(content: Buffer, filename = NAME): Promise<void> {
  const path = join(folder, filename)
  writeFileSync(path, content)
  return inspectWheel(path)
}

test('an honest wheel passes, with its METADATA’s version with and without the local part', async () => {
  await expect(inspect(makeWheel(NAME))).resolves.toBeUndefined()
  await inspect(makeWheel(NAME, { metadata: 'Metadata-Version: 2.1\nName: a\nVersion: 1.0\n' }))
  await inspect(makeWheel(NAME, { files: [{ path: 'a/_C.cp312-win_amd64.pyd', content: 'x' }, { path: 'a-1.0.data/purelib/b.py', content: '' }, { path: 'a/sub/', content: '', mode: 0o40755 }], unlisted: ['a/sub/'] }))
})

test('a folder may have any name, also one that would mean something in an address', async () => {
  const odd = join(folder, 'hash#%41?x=1')
  mkdirSync(odd)
  writeFileSync(join(odd, NAME), makeWheel(NAME))
  await expect(inspectWheel(join(odd, NAME))).resolves.toBeUndefined()
})

const refused: [string, WheelOptions, RegExp][] = [
  ['a path that climbs out', { files: [{ path: '../evil.py', content: '' }] }, /leads out|relative path/],
  ['an absolute path', { files: [{ path: '/etc/evil', content: '' }] }, /leads out|absolute path/],
  ['a backslash path', { files: [{ path: 'a\\..\\evil.py', content: '' }] }, /leads out|relative path|characters/],
  ['a drive letter', { files: [{ path: 'C:/evil.py', content: '' }] }, /leads out|absolute path/],
  ['a symbolic link', { files: [{ path: 'a/link', content: '/etc/passwd', mode: 0o120777 }] }, /symbolic link/],
  ['a .pth file', { files: [{ path: 'evil.pth', content: 'import os' }] }, /evil\.pth, which would run code/],
  ['a .pth file through purelib', { files: [{ path: 'a-1.0.data/purelib/evil.pth', content: 'import os' }] }, /would run code/],
  ['a sitecustomize', { files: [{ path: 'sitecustomize.py', content: '' }] }, /at every start/],
  ['a file beside the environment’s folders', { files: [{ path: 'a-1.0.data/data/pyvenv.cfg', content: '' }] }, /beside the environment/],
  ['a file that RECORD does not name', { files: [{ path: 'a/extra.py', content: '' }], unlisted: ['a/extra.py'] }, /extra\.py is not in its RECORD/],
  ['METADATA of another version', { metadata: 'Metadata-Version: 2.1\nName: a\nVersion: 1.9\n' }, /METADATA says version 1\.9, its name 1\.0/],
  ['METADATA of another package', { metadata: 'Metadata-Version: 2.1\nName: b\nVersion: 1.0\n' }, /METADATA is of b/],
  ['a module for another Python', { files: [{ path: 'a/_C.cpython-311-x86_64-linux-gnu.so', content: '' }] }, /is for Python 3\.11, its name says cp312/],
  ['a zip bomb', { files: [{ path: 'a/bomb', content: Buffer.alloc(1000), claims: 3_000_000_000 }] }, /zip bomb/],
]

test.each(refused)('%s is refused', async (_, options, message) => {
  await expect(inspect(makeWheel(NAME, options))).rejects.toMatchObject({ code: 'WHEEL_INVALID', message: expect.stringMatching(message) })
})

test('what is no zip, a zip without a .dist-info, a RECORD that names what is not there, and a name that installers refuse', async () => {
  await expect(inspect(Buffer.from('PK\x03\x04 broken'))).rejects.toMatchObject({ code: 'WHEEL_INVALID', message: expect.stringContaining('cannot be read') })
  await expect(inspect(makeZip([{ path: 'a/__init__.py', content: '' }]))).rejects.toMatchObject({ message: expect.stringContaining('no .dist-info') })
  const absent = makeWheel(NAME, { files: [{ path: `${INFO}/RECORD`, content: `a/gone.py,sha256=x,1\na/__init__.py,sha256=x,1\n${INFO}/METADATA,sha256=x,1\n${INFO}/WHEEL,sha256=x,1\n` }] })
  await expect(inspect(absent)).rejects.toMatchObject({ message: expect.stringContaining('names a/gone.py, which it does not hold') })
  const name = 'tinycudann-1.7+arch75+torch221-cp310-cp310-win_amd64.whl'
  await expect(inspect(makeWheel(name), name)).rejects.toMatchObject({ message: expect.stringContaining('installers refuse its name') })
})

test('a remote wheel of another version is refused by a few kilobytes of it', async () => {
  const server = await startFileServer()
  const http = new Http({ proxy: null, mirrors: [], offline: false, cache: folder, githubToken: null })
  const wanted = { url: `${server.url}/${NAME}`, filename: NAME, sha256: null }
  const signal = new AbortController().signal
  server.put(`/${NAME}`, makeWheel(NAME, { metadata: 'Metadata-Version: 2.1\nName: a\nVersion: 1.9\n', files: [{ path: 'a/big', content: Buffer.alloc(2_000_000) }] }))
  await expect(refuseWrongMetadata(wanted, http, signal)).rejects.toMatchObject({ code: 'WHEEL_INVALID', message: expect.stringContaining('says version 1.9, its name 1.0 (nothing was downloaded)') })
  expect(server.seen.filter(({ method }) => method === 'GET').every(({ range }) => range !== null)).toBe(true)
  server.put(`/${NAME}`, makeWheel(NAME))
  await expect(refuseWrongMetadata(wanted, http, signal)).resolves.toBeUndefined()
  await server.close()
})
