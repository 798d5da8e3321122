import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { bwrapArgs, passed, pythonFolders, type Sandbox, withWholeNames } from './sandbox'

let folder: string
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'envmanager-sandbox-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const PLAN: Sandbox = { bwrap: '/usr/bin/bwrap', network: false, readable: ['/env'], writable: ['/comfy/custom_nodes/pack'], hidden: ['/comfy/user/__envmanager'] }
const FOLDERS = { root: '/comfy', base: '/comfy', output: '/comfy/output', input: '/comfy/input', temp: '/comfy/temp', user: '/comfy/user', models: { loras: { paths: ['/data/loras'], extensions: [] } }, argv: [] }

/** Where an option with that path stands; later ones lie over earlier ones. */
const at = (args: string[], option: string, path: string): number => args.findIndex((arg, index) => arg === option && args[index + 1] === path)

test('what is hidden lies over what may be read, and what is its own over what is hidden', () => {
  const args = bwrapArgs(PLAN, FOLDERS)
  const order = [at(args, '--tmpfs', homedir()), at(args, '--ro-bind-try', '/comfy'), at(args, '--tmpfs', '/comfy/user'), at(args, '--tmpfs', '/comfy/user/__envmanager'), at(args, '--ro-bind-try', '/env'), at(args, '--bind-try', '/comfy/custom_nodes/pack')]
  expect(order).not.toContain(-1)
  expect(order).toEqual(order.toSorted((a, b) => a - b))
  expect(at(args, '--ro-bind-try', '/data/loras')).toBeGreaterThan(0)
  for (const name of ['output', 'input', 'temp']) expect(at(args, '--bind-try', `/comfy/${name}`)).toBeGreaterThan(0)
  expect(args.at(-1)).toBe('--')
})

test('folders that ComfyUI was started with are there, its keys are not', () => {
  const key = join(folder, 'key.pem')
  writeFileSync(key, '')
  const args = bwrapArgs(PLAN, { ...FOLDERS, argv: ['--front-end-root', folder, '--listen', '127.0.0.1', '--tls-keyfile', key, `--output-directory=${tmpdir()}`] })
  expect(at(args, '--ro-bind-try', folder)).toBeGreaterThan(0)
  expect(at(args, '--ro-bind-try', tmpdir())).toBeGreaterThan(0)
  expect(args).not.toContain(key)
})

test('folders that ComfyUI was started with by their names from there have their whole names', () => {
  const argv = ['--user-directory', '../user', '--front-end-root=static', '--output-directory', '/out', '--cuda-device', '0', '--preview-method', 'auto']
  expect(withWholeNames({ ...FOLDERS, argv }, '/srv/comfy').argv).toEqual(['--user-directory', '/srv/user', '--front-end-root=/srv/comfy/static', '--output-directory', '/out', '--cuda-device', '0', '--preview-method', 'auto'])
})

test('there is no network unless the user wants one, and nothing is bound writable beside its own', () => {
  expect(bwrapArgs(PLAN, FOLDERS)).not.toContain('--share-net')
  expect(bwrapArgs({ ...PLAN, network: true }, FOLDERS)).toContain('--share-net')
  const writable = bwrapArgs(PLAN, null).flatMap((arg, index, args) => (/^--(bind|bind-try)$/.test(arg) ? [args[index + 1]] : []))
  expect(writable).toEqual(['/comfy/custom_nodes/pack'])
})

test('a Python is found with every folder on the way to it', () => {
  for (const name of ['base/bin', 'moved/bin', 'env/bin']) mkdirSync(join(folder, name), { recursive: true })
  writeFileSync(join(folder, 'base/bin/python3.12'), '')
  symlinkSync('../../base/bin/python3.12', join(folder, 'moved/bin/python3'))
  symlinkSync(join(folder, 'moved/bin/python3'), join(folder, 'env/bin/python'))
  expect(pythonFolders(join(folder, 'env/bin/python'))).toEqual(['env', 'moved', 'base'].map((name) => join(folder, name)))
  expect(pythonFolders('/usr/bin/python3-that-is-nowhere')).toEqual([])
})

test.each(['HF_TOKEN', 'GITHUB_TOKEN', 'AWS_SECRET_ACCESS_KEY', 'SSH_AUTH_SOCK', 'COMFY_ENV_GITHUB_TOKEN', 'LD_PRELOAD', 'DBUS_SESSION_BUS_ADDRESS'])('%s does not pass', (name) => {
  expect(passed([name, 'x'])).toBe(false)
})
test.each(['PATH', 'LANG', 'LC_ALL', 'CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS', 'TORCH_HOME', 'PYTORCH_CUDA_ALLOC_CONF'])('%s passes', (name) => {
  expect(passed([name, 'x'])).toBe(true)
})
