/** Installs under conditions that a launcher, a path or a disk brings: C of the fault list. The rest of C is in e2e/process. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { PYTHON } from '../../scripts/devPython.ts'
import { figure } from '../support/faults.ts'
import { INSTALL_WHEELS, Installs, succeeds } from '../support/installs.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

let index: WheelIndex
let folder: string
let on: Installs
beforeAll(async () => {
  index = await startWheelIndex(PYTHON, INSTALL_WHEELS)
  folder = mkdtempSync(join(tmpdir(), 'envmanager-faults-'))
  on = new Installs(folder, index)
})
afterAll(async () => {
  await index.close()
  rmSync(folder, { recursive: true, force: true })
})

const pack = (): string => on.pack('pack', ['ops==1.0'], ['plainly==1.0'])

test('35: a home with spaces, letters of other languages and a long path', async () => {
  const home = join('with spaces', 'Überraschung 日本', 'x'.repeat(100), 'y'.repeat(60))
  await succeeds(on.start(pack(), home))
  expect(on.versions(home, 'pack')).toBe('1.0 1.0')
  figure(35, `${on.env(home, 'pack').length} characters; folders that may not be written are not tried: tests run as root here`)
})

test.runIf(process.platform === 'linux')('49: a cache on another file system: copied instead of linked', async () => {
  const cache = mkdtempSync('/dev/shm/envmanager-cache-')
  try {
    await succeeds(on.start(pack(), 'other-disk', [], { COMFY_ENV_CACHE: cache }))
    expect(on.versions('other-disk', 'pack')).toBe('1.0 1.0')
  } finally {
    rmSync(cache, { recursive: true, force: true })
  }
})

test('50: what a launcher sets for uv, pip and Python is not followed', async () => {
  let asked = 0
  const evil = createServer((_, response) => {
    asked++
    response.end('<a href="ops-9.9-py3-none-any.whl">ops-9.9-py3-none-any.whl</a>')
  })
  await new Promise<void>((done) => evil.listen(0, '127.0.0.1', done))
  const address = `http://127.0.0.1:${(evil.address() as AddressInfo).port}/`
  try {
    const set = { UV_INDEX_URL: address, UV_DEFAULT_INDEX: address, UV_EXTRA_INDEX_URL: address, UV_BUILD_CONSTRAINT: '/nowhere/constraints.txt', UV_CONSTRAINT: '/nowhere', UV_PYTHON: '/nowhere/python', PIP_INDEX_URL: address, PIP_CONSTRAINT: '/nowhere', PYTHONPATH: '/nowhere', PYTHONHOME: '/nowhere', VIRTUAL_ENV: '/nowhere' }
    await succeeds(on.start(pack(), 'launcher', [], set))
    expect(on.versions('launcher', 'pack')).toBe('1.0 1.0')
    expect(asked).toBe(0)
    figure(50, `${Object.keys(set).length} variables, 0 requests to their index`)
  } finally {
    evil.close()
  }
})
