import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readSettingsFile, writeSettings } from './settingsFile'

let home: string
beforeEach(() => (home = mkdtempSync(join(tmpdir(), 'envmanager-settings-'))))
afterEach(() => rmSync(home, { recursive: true, force: true }))

test('a change from the panel keeps the comments and keys that a user wrote', async () => {
  writeFileSync(join(home, 'settings.toml'), '# my mirror\nproxy = "http://127.0.0.1:1"\noffline = false # for now\n\n[workers]\nshare = true # one GPU\n')
  await writeSettings(home, { offline: true, workers_per_pack: 2 })
  const text = readFileSync(join(home, 'settings.toml'), 'utf8')
  expect(text).toContain('# my mirror')
  expect(text).toContain('# one GPU')
  expect(readSettingsFile(home)).toEqual({ proxy: 'http://127.0.0.1:1', offline: true, workers: { share: true, per_pack: 2 } })
})

test('the first change makes the file', async () => {
  await writeSettings(home, { keep_warm: ['a pack'] })
  expect(readSettingsFile(home)).toEqual({ workers: { keep_warm: ['a pack'] } })
})
