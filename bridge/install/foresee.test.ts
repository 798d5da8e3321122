import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Scheme } from '../probe/interpreter'
import { distInfos, filesRemovedWith, filesWritten, mapped } from './foresee'

const venv = (root: string): Scheme => ({ purelib: `${root}/lib/python3.11/site-packages`, platlib: `${root}/lib/python3.11/site-packages`, scripts: `${root}/bin`, headers: `${root}/include/site/python3.11`, data: root })
const system: Scheme = { purelib: '/usr/lib/python3.11/site-packages', platlib: '/usr/lib64/python3.11/site-packages', scripts: '/usr/local/bin', headers: '/usr/include/python3.11', data: '/usr/local' }

test.each([
  ['lib/python3.11/site-packages/a/b.py', ['/usr/lib/python3.11/site-packages/a/b.py', '/usr/lib64/python3.11/site-packages/a/b.py']],
  ['bin/tool', ['/usr/local/bin/tool']],
  ['include/site/python3.11/x/x.h', ['/usr/include/python3.11/x/x.h']],
  ['share/x.txt', ['/usr/local/share/x.txt']],
])('%s of a venv lies in a system’s Python at %s', (path, expected) => {
  expect(mapped(`/v/${path}`, venv('/v'), system)).toEqual(expected)
})

describe('of an environment on disk', () => {
  let root: string
  let scheme: Scheme
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'envmanager-foresee-'))
    scheme = venv(root)
    mkdirSync(scheme.purelib, { recursive: true })
  })
  afterEach(() => rmSync(root, { recursive: true, force: true }))

  function put(path: string, text = ''): string {
    const file = join(scheme.purelib, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
    return file
  }
  const info = (folder = 'ops-1.dist-info') => ({ site: scheme.purelib, folder })

  test('with a package go its files, its metadata, whole folders of its RECORD, and the bytecode of others beside them', async () => {
    const files = ['ops/__init__.py', 'ops/__pycache__/other.cpython-311.pyc', 'shared/deep/x.py', 'shared/__pycache__/y.cpython-311.pyc', 'data/one.txt', 'ops-1.dist-info/INSTALLER'].map((path) => put(path))
    const record = put('ops-1.dist-info/RECORD', 'ops/__init__.py,,\nshared/deep/x.py,,\ndata,,\n../../../bin/ops,,\n')
    put('__pycache__/single.cpython-311.pyc')
    symlinkSync('one.txt', join(scheme.purelib, 'data', 'link'))
    expect((await filesRemovedWith(info(), scheme)).sort()).toEqual([...files, record, join(scheme.purelib, 'data', 'link'), join(root, 'bin', 'ops')].sort())
  })

  test.each(['../../../../../etc/passwd', '/etc/passwd', '../site-packages', '..', '../../..'])('a RECORD that names %s is refused', async (path) => {
    put('ops-1.dist-info/RECORD', `${path},,\n`)
    await expect(filesRemovedWith(info(), scheme)).rejects.toMatchObject({ code: 'VERIFY_FAILED', message: expect.stringContaining('not a file of its own') })
  })

  test('a RECORD that is not there is refused', async () => {
    mkdirSync(join(scheme.purelib, 'ops-1.dist-info'))
    await expect(filesRemovedWith(info(), scheme)).rejects.toMatchObject({ code: 'VERIFY_FAILED' })
  })

  test('every folder of metadata of a package counts, under any spelling of its name, and none of another one', async () => {
    for (const folder of ['My_Ops-1.dist-info', 'my.ops-2.dist-info', 'my_ops_more-1.dist-info']) put(`${folder}/METADATA`)
    expect((await distInfos([scheme.purelib], 'my-ops')).map(({ folder }) => folder).sort()).toEqual(['My_Ops-1.dist-info', 'my.ops-2.dist-info'])
  })

  test.each(['ops-1-py3.11.egg-info', 'ops.egg-info', 'ops.egg-link'])('%s does not say what it has', async (name) => {
    put(name)
    await expect(distInfos([scheme.purelib], 'ops')).rejects.toMatchObject({ code: 'VERIFY_FAILED', message: expect.stringContaining(name) })
  })

  test('what is written is what was written at the trial, with hashes but for scripts', async () => {
    put('ops-1.dist-info/RECORD', 'ops.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n../../../bin/ops,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\nops-1.dist-info/RECORD,,\n')
    const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    expect(await filesWritten(scheme, venv('/v'), venv('/v').purelib)).toEqual([
      { path: 'ops.py', sha256: empty },
      { path: '../../../bin/ops', sha256: null },
      { path: 'ops-1.dist-info/RECORD', sha256: null },
    ])
  })
})
