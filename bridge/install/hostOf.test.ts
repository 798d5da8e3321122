import { mkdirSync, mkdtempSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { EnvInfo, EnvRecord } from '../../schemas/env'
import type { Context } from '../serve/context'
import { PackService } from '../serve/packService'
import { EnvStore } from './envStore'
import { refuseUnrunnable } from './hostOf'

let home: string
beforeEach(() => void (home = mkdtempSync(join(tmpdir(), 'envmanager-host-'))))
afterEach(() => rmSync(home, { recursive: true, force: true }))

/** What the panel shows of the environments. */
async function shown(store: EnvStore, hostSites: string[]): Promise<Pick<EnvInfo, 'state' | 'reason'>[]> {
  const seen = new Map<string, EnvInfo>()
  const fingerprint = { python: { version: '3.11' }, torch: null }
  const apply = ({ env }: { env: EnvInfo }): unknown => seen.set(env.id, env)
  await new PackService({ engine: { envs: store, hostSites, fingerprint }, store: { envs: seen, apply } } as unknown as Context).refreshEnvs()
  return [...seen.values()].map(({ state, reason }) => ({ state, reason }))
}

test.skipIf(process.platform === 'win32')('an environment whose base Python is gone says so when it is started, with what to do, and is not shown as ready', async () => {
  const store = new EnvStore(home)
  const record: EnvRecord = { schema: 1, id: 'a', kind: 'overlay', pack: 'needy', generation: 1, previous: null, interpreter: '/p', host_site: home, combination: null, requirements_hash: '', packages: [], created: 1 }
  const [python, base] = [store.pythonOf(record), join(home, 'base')]
  mkdirSync(dirname(python), { recursive: true })
  writeFileSync(join(store.folder('a'), 'env.json'), JSON.stringify(record))
  writeFileSync(join(store.generation('a', 1), 'pyvenv.cfg'), 'home = /p')
  writeFileSync(base, '')
  symlinkSync(base, python)
  const start = (): Promise<void> => refuseUnrunnable(record, python, [home])
  await expect(start()).resolves.toBeUndefined()
  expect(await shown(store, [home])).toEqual([{ state: 'ready', reason: null }])

  unlinkSync(base)
  await expect(start()).rejects.toMatchObject({ code: 'ENV_BROKEN', message: `The environment of needy cannot run: the Python that it was made from is gone (${base}): it was moved or deleted.`, hint: expect.stringContaining('comfy-env repair a') })
  expect(await shown(store, [home])).toEqual([{ state: 'broken', reason: expect.stringContaining(`is gone (${base})`) }])

  unlinkSync(python)
  await expect(start()).rejects.toMatchObject({ code: 'ENV_BROKEN', message: expect.stringContaining(`its Python is gone (${python})`) })
  symlinkSync(python, python)
  expect(await shown(store, [home])).toEqual([{ state: 'broken', reason: expect.stringContaining('ELOOP') }])
})
