import { execFileSync } from 'node:child_process'
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
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

test('a file of Windows keeps its ends of lines', async () => {
  writeFileSync(path, '# mine\r\noffline = true\r\n')
  await writeSettings(home, { offline: false, registry: false })
  expect(readFileSync(path, 'utf8')).toBe('# mine\r\noffline = false\r\nregistry = false\r\n')
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

const modeOf = (file: string): string => (statSync(file).mode & 0o777).toString(8)

test.each([0o600, 0o640, 0o664, 0o444])('a file keeps its mode %o', async (mode) => {
  writeFileSync(path, 'proxy = "http://user:secret@127.0.0.1:1"\n')
  chmodSync(path, mode)
  await writeSettings(home, { offline: true })
  expect([modeOf(path), values()]).toEqual([mode.toString(8), { proxy: 'http://user:secret@127.0.0.1:1', offline: true }])
})

test('a link stays one, and its file, which keeps its mode, is what changes', async () => {
  const dotfiles = join(home, 'dotfiles')
  mkdirSync(dotfiles)
  const real = join(dotfiles, 'comfy.toml')
  writeFileSync(real, '# mine\noffline = false\n', { mode: 0o600 })
  symlinkSync('dotfiles/between.toml', path)
  symlinkSync('comfy.toml', join(dotfiles, 'between.toml'))
  await writeSettings(home, { offline: true })
  expect([readlinkSync(path), readFileSync(real, 'utf8'), modeOf(real), values()]).toEqual(['dotfiles/between.toml', '# mine\noffline = true\n', '600', { offline: true }])
  expect(readdirSync(dotfiles).sort()).toEqual(['between.toml', 'comfy.toml'])
})

test('a link to what is not there is no empty file', async () => {
  symlinkSync(join(home, 'nowhere.toml'), path)
  const fault = { code: 'FILE_UNREADABLE', message: `${path} cannot be read: it is a link, and what it leads to is not there.` }
  expect(readSettingsFile(home).fault).toMatchObject(fault)
  await expect(writeSettings(home, { offline: true })).rejects.toMatchObject(fault)
  expect([lstatSync(path).isSymbolicLink(), readdirSync(home)]).toEqual([true, expect.not.arrayContaining(['nowhere.toml'])])
})

test.each([
  ['a word of another encoding', Buffer.from('offline = false\n# caf\u00e9\nproxy = "http://caf\u00e9"\n', 'latin1'), 2],
  ['UTF-16', Buffer.from('\ufeffoffline = true\n', 'utf16le'), 1],
  ['a character that is cut', Buffer.concat([Buffer.from('offline = true\n# '), Buffer.from('\u00e9').subarray(0, 1)]), 2],
])('%s: said with its line, and nothing is written over it', async (_, bytes, line) => {
  writeFileSync(path, bytes)
  const fault = { code: 'FILE_UNREADABLE', message: `${path} cannot be read: its line ${line} is not UTF-8.` }
  expect(readSettingsFile(home).fault).toMatchObject(fault)
  await expect(writeSettings(home, { offline: true })).rejects.toMatchObject(fault)
  expect(readFileSync(path)).toEqual(bytes)
})

test.skipIf(process.platform === 'win32')('a pipe in its place is not waited for', async () => {
  execFileSync('mkfifo', [path])
  expect(readSettingsFile(home).fault).toMatchObject({ code: 'FILE_UNREADABLE', message: expect.stringContaining('it is no file') })
  await expect(writeSettings(home, { offline: true })).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
})
