import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { PackId } from '../../schemas/ids'
import { shimToBridge } from '../../schemas/shimLink'
import type { BridgeError } from '../errors/bridgeError'
import { readPackNeeds } from './config'
import { escapedName, findPack, packAt, scanPacks } from './scan'

let root: string
beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'envmanager-scan-'))))
afterEach(() => rmSync(root, { recursive: true, force: true }))

const NAMES = [
  'ComfyUI-中文节点', 'حزمة', 'emoji🙂👩‍🎨', 'pack[1]', '{x}', `it's "quoted"`, 'two words', 'na\nme', '.dotted', '-dash', 'x'.repeat(255), '中'.repeat(85), 'trailing ', 'trailing.',
  '%41', '%2e%2e', '__proto__', 'constructor', 'caf\u00e9', 'cafe\u0301', 'Case', 'case', '\u001b]0;owned\u0007', 'rtl\u202egnp', '$(id)', 'a;b', '..pack', '~', '#1', '*', 'CON', 'back\\slash', '\u00a0', '<b>',
]
const posix = process.platform !== 'win32'

test.runIf(posix)('every name that a folder can have is a pack’s, and no name refuses the report of the others', async () => {
  for (const name of NAMES) {
    mkdirSync(join(root, name))
    writeFileSync(join(root, name, '__init__.py'), '')
  }
  const packs = await scanPacks([root])
  expect(packs.map(({ id }) => id).sort()).toEqual([...NAMES].sort())
  expect(packs.filter(({ fault }) => fault)).toEqual([])
  for (const name of NAMES) expect((await findPack([root], name)).dir).toBe(join(root, name))
  const report = { packs: [...NAMES, 'pack\udcff'].map((id) => ({ id, loaded: 'failed', error: 'x', classes: 0, live_classes: [], proxied: false })) }
  expect(shimToBridge.requests['host.packs'].params.parse(JSON.parse(JSON.stringify(report))).packs).toHaveLength(NAMES.length + 1)
})

test.each(['', '.', '..', 'a/b', '../x', 'a\0b', 'x'.repeat(256)])('%j is no pack’s name', (name) => {
  expect(PackId.safeParse(name).success).toBe(false)
})

test('a name that is not UTF-8 is spelled as Python does', () => {
  expect(escapedName(Buffer.from([0x70, 0xff, 0xe4, 0xb8, 0x61]))).toBe('p\udcff\udce4\udcb8a')
  expect(escapedName(Buffer.concat([Buffer.from('中🙂'), Buffer.from([0xed, 0xa0, 0x80])]))).toBe('中🙂\udced\udca0\udc80')
})

test.runIf(process.platform === 'linux')('what cannot be named or read is that pack’s own fault', async () => {
  mkdirSync(join(root, 'good'))
  writeFileSync(join(root, 'good', '__init__.py'), '')
  execFileSync('sh', ['-c', 'mkdir "$(printf "bad\\377name")" && touch "$(printf "bad\\377name")/__init__.py"'], { cwd: root })
  symlinkSync('loop', join(root, 'loop'))
  symlinkSync('nowhere', join(root, 'dangling'))
  const packs = await scanPacks([root])
  expect(packs.map(({ id, fault }) => [id, fault?.code])).toEqual([['bad\udcffname', 'CONFIG_INVALID'], ['good', undefined], ['loop', 'FILE_UNREADABLE']])
  await expect(findPack([root], 'bad\udcffname')).rejects.toThrow(/is not UTF-8/)
  await expect(findPack([root], 'loop')).rejects.toThrow(/loop cannot be read: ELOOP/)
})

test('a folder of packs that cannot be read is told, and the packs of others are found', async () => {
  mkdirSync(join(root, 'packs', 'good'), { recursive: true })
  writeFileSync(join(root, 'packs', 'good', '__init__.py'), '')
  writeFileSync(join(root, 'file'), '')
  const faults: BridgeError[] = []
  const packs = await scanPacks([join(root, 'absent'), join(root, 'file'), join(root, 'packs')], (fault) => faults.push(fault))
  expect(packs.map(({ id }) => id)).toEqual(['good'])
  expect(faults.map(({ message }) => message)).toEqual([`${join(root, 'file')} cannot be read: ENOTDIR: not a directory.`])
})

const ODD: [string, (path: string) => unknown, RegExp][] = [
  ['a folder', (path) => mkdirSync(path), /is no file/],
  ['a named pipe', (path) => execFileSync('mkfifo', [path]), /is no file/],
  ['a loop of links', (path) => symlinkSync(path, path), /cannot be read: ELOOP/],
  ['a device', (path) => symlinkSync('/dev/zero', path), /is no file/],
  ['bytes that are no text', (path) => writeFileSync(path, Buffer.from([0xff, 0xfe])), /is not UTF-8/],
  ['a large file', (path) => writeFileSync(path, Buffer.alloc(200 << 20)), /is larger than 64 KB/],
  ['a file without end', (path) => symlinkSync('/proc/self/mem', path), /cannot be read/],
]

test.runIf(process.platform === 'linux').each(ODD.flatMap(([what, make, message]) => ['requirements.txt', 'comfyui_env.toml', 'nodes/comfy-env.toml'].map((file) => [what, file, make, message] as const)))('%s in place of %s is said, and never waited for', async (_, file, make, message) => {
  mkdirSync(join(root, 'nodes'))
  make(join(root, file))
  await expect(readPackNeeds(root, 'linux')).rejects.toThrow(message)
})

test.runIf(process.platform === 'linux')('a socket in place of a config is said', async () => {
  const server = createServer()
  await new Promise<void>((done) => server.listen(join(root, 'requirements.txt'), done))
  await expect(readPackNeeds(root, 'linux')).rejects.toThrow(/requirements.txt cannot be read: ENXIO/)
  await new Promise((done) => server.close(done))
})

test('a pack that the command line names by a link among ComfyUI’s packs has the link’s name, by any other link its own', async () => {
  const packs = join(realpathSync(root), 'custom_nodes')
  const real = join(packs, '..', 'Real-Repo-Name')
  for (const folder of [packs, real, join(packs, 'plain')]) mkdirSync(folder)
  for (const folder of [real, join(packs, 'plain')]) writeFileSync(join(folder, '__init__.py'), '')
  symlinkSync(real, join(packs, 'nice-name'))
  symlinkSync(join(packs, 'plain'), join(packs, '..', 'elsewhere'))
  for (const end of ['', '/', '/.']) expect(await packAt(`${join(packs, 'nice-name')}${end}`)).toEqual({ id: 'nice-name', dir: join(packs, 'nice-name') })
  expect(await findPack([packs], 'nice-name')).toEqual(await packAt(join(packs, 'nice-name')))
  expect(await packAt(join(packs, '..', 'elsewhere'))).toEqual(await findPack([packs], 'plain'))
  symlinkSync(join(packs, 'nowhere'), join(packs, 'broken'))
  await expect(packAt(join(packs, 'broken'))).rejects.toMatchObject({ code: 'UNKNOWN_PACK' })
})

test('a git clone is a pack when git has written its index; one that its author has only begun has none', async () => {
  const make = (name: string, ...files: string[]): void => {
    mkdirSync(join(root, name, '.git', 'refs', 'heads'), { recursive: true })
    for (const file of ['__init__.py', ...files]) writeFileSync(join(root, name, file), '')
  }
  const clone = (name: string, ...files: string[]): void => {
    mkdirSync(join(root, name, '.git', 'refs', 'remotes', 'origin'), { recursive: true })
    make(name, ...files)
  }
  make('begun')
  clone('half', join('.git', 'index.lock'))
  clone('whole', join('.git', 'index'))
  clone('pulled', join('.git', 'index'), join('.git', 'index.lock'))
  const faults = (await scanPacks([root])).map(({ id, fault }) => [id, fault?.code])
  expect(faults).toEqual([['begun', undefined], ['half', 'PACK_INCOMPLETE'], ['pulled', undefined], ['whole', undefined]])
  await expect(findPack([root], 'half')).rejects.toMatchObject({ code: 'PACK_INCOMPLETE' })
  await expect(packAt(join(root, 'half'))).rejects.toMatchObject({ code: 'PACK_INCOMPLETE' })
})
