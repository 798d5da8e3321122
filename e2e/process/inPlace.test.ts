import { appendFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { InstallPlan } from '../../schemas/env.ts'
import type { CliResult } from '../support/cli.ts'
import { errorOf, LOCAL, WAITS } from '../support/installs.ts'
import { OwnHost, UV } from '../support/ownHost.ts'
import { until } from '../support/processes.ts'
import { treeHash } from '../support/trees.ts'


let host: OwnHost
let site: string

beforeAll(async () => {
  const wheels = [
    { name: 'ops', version: '1.0', ...LOCAL, files: 20 },
    { name: 'ops', version: '2.0', ...LOCAL, files: 20 },
    { name: 'waits', version: '1.0', ...LOCAL, code: WAITS },
    { name: 'broken', version: '1.0', ...LOCAL, code: 'import module_that_is_nowhere\n' },
    { name: 'helper', version: '1.0' },
    { name: 'helper', version: '2.0' },
    { name: 'extra', version: '1.0', requires: ['helper'] },
    { name: 'torch', version: '2.13.0', python: 'here', tag: 'here' },
    { name: 'torch', version: '2.14.0', python: 'here', tag: 'here' },
  ]
  host = await OwnHost.start(wheels, ['torch==2.13.0', 'helper==1.0', 'ops==1.0'])
  site = host.site
})

afterAll(() => host.close())

const comfyEnv = (...args: string[]): Promise<CliResult> => host.comfyEnv(...args)
const inPlace = (pack: string, ...args: string[]): Promise<CliResult> => host.inPlace(pack, ...args)
const makePack = (name: string, wheels: string[], packages: string[] = []): string => host.pack(name, wheels, packages)
const versions = (): string => host.says('import importlib.metadata as m; print(*(f"{d.name}={d.version}" for d in sorted(m.distributions(), key=lambda d: d.name)))')

test('the plan is shown and nothing happens without --yes', async () => {
  const before = treeHash(site, true)
  const pack = makePack('wants', ['ops==2.0'], ['extra'])
  const dry = await inPlace(pack, '--dry-run')
  expect((dry.json as { plan: InstallPlan }).plan).toMatchObject({ kind: 'host', torch_changes: false, add: [{ name: 'extra' }], change: [{ name: 'ops', from: '1.0+cputorch2.13', to: '2.0+cputorch2.13' }], remove: [] })
  expect((await inPlace(pack)).code).toBe(2)
  expect(treeHash(site, true)).toBe(before)
})

test('it installs with a snapshot, leaves torch and what was there alone, and restore is byte for byte', async () => {
  const before = treeHash(site, true)
  const { code, json, stderr } = await inPlace(makePack('wants', ['ops==2.0'], ['extra']), '--yes')
  expect([code, stderr]).toEqual([0, expect.any(String)])
  expect(versions()).toBe('extra=1.0 helper=1.0 ops=2.0+cputorch2.13 torch=2.13.0')
  const { snapshot } = json as { snapshot: string }
  expect((await comfyEnv('snapshots')).json).toMatchObject({ snapshots: [{ id: snapshot, state: 'done', added: ['extra'], changed: [{ name: 'ops' }] }] })
  expect((await comfyEnv('restore', snapshot, '--offline')).code).toBe(0)
  expect(versions()).toBe('helper=1.0 ops=1.0+cputorch2.13 torch=2.13.0')
  expect(treeHash(site, true)).toBe(before)
  expect((await comfyEnv('restore', snapshot)).code).toBe(2)
})

test.each([
  ['another torch', [], ['torch==2.14.0'], 'TORCH_PROTECTED'],
  ['another version of what is there', [], ['helper==2.0'], 'UV_FAILED'],
  ['a wheel that cannot be imported', ['broken==1.0', 'ops==2.0'], [], 'VERIFY_FAILED'],
])('%s is refused or undone, and nothing has changed', async (_, wheels, packages, code) => {
  const before = treeHash(site, true)
  const result = await inPlace(makePack('refused', wheels, packages), '--yes')
  expect([result.code, errorOf(result).code]).toEqual([1, code])
  expect(treeHash(site, true)).toBe(before)
})

/** Starts an install of two wheels, sends it a signal while the second one's import waits, and waits for its end. */
async function endWhileImporting(name: string, signal: NodeJS.Signals): Promise<CliResult> {
  const gate = join(host.folder, 'gate')
  writeFileSync(gate, '')
  const running = host.start(['install', '--pack', makePack(name, ['ops==2.0', 'waits==1.0']), '--in-place', '--yes'], { GATE: gate })
  await until('the imports', () => running.stderr().includes('— verifying —'))
  expect(versions()).toContain('ops=2.0')
  running.process.kill(signal)
  return running.ended.finally(() => rmSync(gate))
}

test('killed half-way, it is undone at the next start', async () => {
  const before = treeHash(site, true)
  await endWhileImporting('killed', 'SIGKILL')
  const next = await comfyEnv('info')
  expect(next.stderr).toContain('An install for killed into ComfyUI’s own environment was broken off and has been undone.')
  expect(treeHash(site, true)).toBe(before)
})

test('cancelled, it is undone at once', async () => {
  const before = treeHash(site, true)
  expect((await endWhileImporting('cancelled', 'SIGINT')).code).toBe(130)
  expect(treeHash(site, true)).toBe(before)
})

test('a damaged cache of uv is mended before anything is changed', async () => {
  const before = treeHash(site, true)
  expect((await comfyEnv('install', '--pack', makePack('isolated', ['ops==2.0'], ['extra']))).code).toBe(0)
  const lib = join(host.folder, 'home', 'envs', 'isolated', 'gen-1', 'lib')
  for (const name of ['ops', 'extra']) appendFileSync(join(lib, readdirSync(lib)[0] ?? '', 'site-packages', name, '__init__.py'), '# of a node\n') // uv links it from its cache
  const done = await inPlace(makePack('wants', ['ops==2.0'], ['extra']), '--yes')
  expect([done.code, done.stderr]).toEqual([0, expect.stringMatching(/cache holds damaged files of .*(?:extra|ops).*: they are fetched anew/)])
  expect(versions()).toContain('ops=2.0')
  expect((await comfyEnv('restore', (done.json as { snapshot: string }).snapshot)).code).toBe(0)
  expect(treeHash(site, true)).toBe(before)
})

test('what uv has written wrong is undone as ours', async () => {
  const before = treeHash(site, true)
  const uv = join(host.folder, 'uv-of-a-bad-disk')
  const spoil = `sed -i 's/.*/# spoilt/' '${join(site, 'ops', '__init__.py')}'`
  writeFileSync(uv, `#!/bin/sh\n'${UV}' "$@" || exit $?\ncase "$*" in *"pip install --python ${host.python} "*ops*) ${spoil} ;; esac\n`, { mode: 0o755 })
  const { ended } = host.start(['install', '--pack', makePack('spoilt', ['ops==2.0']), '--in-place', '--yes'], { COMFY_ENV_UV: uv })
  const result = await ended
  expect([result.code, errorOf(result)]).toMatchObject([1, { code: 'VERIFY_FAILED', message: expect.stringMatching(/ops\/__init__\.py has another content; the install was undone\.$/) }])
  expect(treeHash(site, true)).toBe(before)
})

/** Starts an install whose import waits, and another command that waits for it; kills the install and waits for the other's end. */
async function waitsForKilled(name: string, args: string[]): Promise<CliResult> {
  const gate = join(host.folder, 'gate')
  writeFileSync(gate, '')
  const first = host.start(['install', '--pack', makePack(name, ['ops==2.0', 'waits==1.0']), '--in-place', '--yes'], { GATE: gate })
  await until('the imports', () => first.stderr().includes('— verifying —'))
  const second = host.start(args)
  await until('the other to wait', () => second.stderr().includes('waiting for'))
  first.process.kill('SIGKILL')
  return second.ended.finally(() => rmSync(gate))
}

test('who waits for an install that is killed changes nothing before that is undone', async () => {
  const before = treeHash(site, true)
  const second = await waitsForKilled('ended', ['install', '--pack', makePack('next', [], ['extra']), '--in-place', '--yes'])
  expect([second.code, second.stderr]).toEqual([0, expect.stringContaining('An install for ended into ComfyUI’s own environment was broken off and has been undone.')])
  expect(versions()).toBe('extra=1.0 helper=1.0 ops=1.0+cputorch2.13 torch=2.13.0')
  const { snapshot } = second.json as { snapshot: string }

  const restore = await waitsForKilled('ended-too', ['restore', snapshot])
  expect([restore.code, restore.stderr]).toEqual([0, expect.stringContaining('An install for ended-too into ComfyUI’s own environment was broken off and has been undone.')])
  expect(treeHash(site, true)).toBe(before)
})

test('where a killed install cannot be undone, nothing is installed on top of it', async () => {
  const before = treeHash(site, true)
  await endWhileImporting('stuck', 'SIGKILL')
  appendFileSync(join(site, 'ops', '__init__.py'), '# of somebody\n')
  const now = treeHash(site, true)
  const next = await inPlace(makePack('on-top', [], ['extra']), '--yes')
  expect([next.code, errorOf(next)]).toMatchObject([1, { code: 'HOST_CHANGED', message: expect.stringContaining('An install for stuck into ComfyUI’s own environment was broken off and cannot be undone') }])
  expect(treeHash(site, true)).toBe(now)
  const { json } = await comfyEnv('snapshots')
  const open = (json as { snapshots: { id: string; state: string }[] }).snapshots.find(({ state }) => state === 'open')
  expect((await comfyEnv('restore', open?.id ?? '', '--force')).code).toBe(0)
  expect(treeHash(site, true)).toBe(before)
})
