import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { EnvRecord } from '../schemas/env'
import { runChecks } from './doctor'
import type { Engine } from './engine'
import { EnvStore } from './install/envStore'

let home: string
beforeEach(() => void (home = mkdtempSync(join(tmpdir(), 'envmanager-doctor-'))))
afterEach(() => rmSync(home, { recursive: true, force: true }))

function env(id: string, host_site: string): void {
  const record: EnvRecord = { schema: 1, id, kind: 'overlay', pack: id, generation: 1, previous: null, interpreter: '/p', host_site, combination: null, requirements_hash: '', packages: [], created: 1 }
  mkdirSync(join(home, 'envs', id), { recursive: true })
  writeFileSync(join(home, 'envs', id, 'env.json'), JSON.stringify(record))
}

/** As much of an engine as the checks look at. */
function engine(hostSites: string[]): Engine {
  const fingerprint = { python: { version: '3.11', executable: '/p' }, torch: null, cuda: null, gpus: [], platform: { os: 'linux', arch: 'x86_64' } }
  return { envs: new EnvStore(home), hostSites, fingerprint, settings: { home, sandbox: { packs: [], network: false } }, uv: { version: async () => 'uv' } } as unknown as Engine
}

test.skipIf(process.platform === 'win32')('an environment whose packages cannot be looked at is one failed check, and the others are checked', async () => {
  const loop = join(home, 'loop')
  symlinkSync(loop, loop)
  env('a', loop)
  env('b', home)
  const checks = (await runChecks(engine([loop, home]))).filter(({ id }) => id.startsWith('env:'))
  expect(checks).toEqual([
    { id: 'env:a', status: 'fail', message: expect.stringMatching(/loop cannot be read: ELOOP/), fix: 'comfy-env repair a' },
    { id: 'env:b', status: 'fail', message: expect.stringMatching(/^its Python is gone/), fix: 'comfy-env repair b' },
  ])
})
