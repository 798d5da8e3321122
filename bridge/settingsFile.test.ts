import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readSettings } from './settings'
import { readSettingsFile, writeSettings } from './settingsFile'

let home: string
let path: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'envmanager-settings-'))
  path = join(home, 'settings.toml')
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const values = (): unknown => readSettingsFile(home).values

test('a change from the panel keeps the comments and keys that a user wrote', async () => {
  writeFileSync(path, '# my mirror\nproxy = "http://127.0.0.1:1"\noffline = false # for now\n\n[workers]\nshare = true # one GPU\n')
  await writeSettings(home, { offline: true, workers_per_pack: 2 })
  const text = readFileSync(path, 'utf8')
  expect(text).toContain('# my mirror')
  expect(text).toContain('# one GPU')
  expect(values()).toEqual({ proxy: 'http://127.0.0.1:1', offline: true, workers: { share: true, per_pack: 2 } })
})

test('the first change makes the file', async () => {
  await writeSettings(home, { keep_warm: ['a pack'] })
  expect(values()).toEqual({ workers: { keep_warm: ['a pack'] } })
})

test('of two changes at once none is lost', async () => {
  await Promise.all([writeSettings(home, { offline: true }), writeSettings(home, { idle_minutes: 7 }), writeSettings(home, { keep_warm: ['a'] })])
  expect(values()).toEqual({ offline: true, workers: { idle_minutes: 7, keep_warm: ['a'] } })
})

test('a key of a newer version does nothing, is said with its line, and stays in the file', async () => {
  writeFileSync(path, 'offline = true\nfuture_key = 1\n\n[workers]\nshare = true\nlater = "x"\n')
  const { unknown, fault, sandboxFault } = readSettingsFile(home)
  expect([fault, sandboxFault]).toEqual([null, null])
  expect(unknown.join('\n')).toContain(`${path}:2: there is no setting \`future_key\``)
  expect(unknown.join('\n')).toContain(`${path}:6: there is no setting \`workers.later\``)
  await writeSettings(home, { idle_minutes: 3 })
  expect(readFileSync(path, 'utf8')).toMatch(/future_key = 1[\s\S]*later = "x"/)
  expect(values()).toEqual({ offline: true, workers: { share: true, idle_minutes: 3 } })
})

test.each([
  ['CONFIG_SYNTAX', 'offline = false\nworkers = [1,\n', ':3:'],
  ['CONFIG_INVALID', 'offline = false\nworkers = 3\n', ':2:'],
])('%s: said with its line, nothing is written over it, and what it forbids is not done', async (code, text, place) => {
  writeFileSync(path, text)
  const settings = readSettings({ home }, {})
  expect(settings.fault).toMatchObject({ code, message: expect.stringContaining(path) })
  expect(settings.fault?.message).toContain(place)
  expect([settings.offline, settings.sandboxFault]).toEqual([true, settings.fault])
  await expect(writeSettings(home, { idle_minutes: 1 })).rejects.toMatchObject({ code })
  expect(readFileSync(path, 'utf8')).toBe(text)
})

test('a file that the system does not let us read is not taken for empty', async () => {
  mkdirSync(path)
  expect(readSettingsFile(home).fault).toMatchObject({ code: 'FILE_UNREADABLE', message: expect.stringContaining('EISDIR') })
  await expect(writeSettings(home, { offline: true })).rejects.toMatchObject({ code: 'FILE_UNREADABLE', message: expect.stringContaining(path) })
})

test('an unknown word about sandboxes keeps isolated packs from starting, not the bridge', () => {
  writeFileSync(path, '[sandbox]\npacks = ["a"]\nnet = false\n')
  const { values: known, fault, sandboxFault } = readSettingsFile(home)
  expect([known, fault]).toEqual([{ sandbox: { packs: ['a'] } }, null])
  expect(sandboxFault?.message).toContain(`${path}:3: there is no setting \`sandbox.net\``)
})
