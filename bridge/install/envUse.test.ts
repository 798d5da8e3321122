import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { EnvRecord } from '../../schemas/env'
import { writeAtomic } from '../files'
import { EnvStore } from './envStore'

let home: string
let store: EnvStore
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'envmanager-use-'))
  store = new EnvStore(home)
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const generations = (): string[] => readdirSync(join(home, 'envs', 'a')).filter((name) => name.startsWith('gen-')).sort()

/** A new generation, as an install makes it. */
async function install(): Promise<EnvRecord> {
  const current = await store.read('a')
  const { generation, folder } = await store.stage('a', current)
  const rest = { interpreter: '/p', host_site: null, combination: null, requirements_hash: '', packages: [], created: 1 }
  const record: EnvRecord = { schema: 1, id: 'a', kind: 'overlay', pack: 'a', generation, previous: current?.generation ?? null, ...rest }
  await writeAtomic(join(folder, 'envmanager.json'), JSON.stringify(record))
  await store.exclusive('a', {}, () => store.publish(record))
  return record
}

test('a generation that workers run on is not deleted, by a sweep, another install or with the env; when they have ended, it is', async () => {
  await install()
  const used = await store.use('a')
  expect(used?.record.generation).toBe(1)
  for (let times = 0; times < 3; times++) await install()
  await store.sweep()
  expect(generations()).toEqual(['gen-1', 'gen-3', 'gen-4'])
  await expect(store.remove('a', {})).rejects.toMatchObject({ code: 'ENV_BUSY' })
  expect(generations()).toEqual(['gen-1', 'gen-3', 'gen-4'])
  used?.leave()
  await store.sweep()
  expect(generations()).toEqual(['gen-3', 'gen-4'])
  await store.remove('a', {})
  expect(existsSync(join(home, 'envs', 'a'))).toBe(false)
})

test('an env that is switched while it is being taken is taken as it is then', async () => {
  const first = await install()
  await install()
  vi.spyOn(store, 'read').mockResolvedValueOnce(first)
  const used = await store.use('a')
  expect(used?.record.generation).toBe(2)
  used?.leave()
  expect(await store.use('b')).toBeNull()
})
