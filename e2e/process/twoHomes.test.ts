import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CliResult, RunningCli } from '../support/cli.ts'
import { errorOf, LOCAL, WAITS } from '../support/installs.ts'
import { OwnHost } from '../support/ownHost.ts'
import { until } from '../support/processes.ts'
import { treeHash } from '../support/trees.ts'

// Two homes whose ComfyUIs share one Python: what one changes there, the other one does not know.

let host: OwnHost
let gate: string
let before: string

beforeAll(async () => {
  const wheels = [
    { name: 'ops', version: '1.0', ...LOCAL, files: 20 },
    { name: 'ops', version: '2.0', ...LOCAL, files: 20 },
    { name: 'waits', version: '1.0', ...LOCAL, code: WAITS },
    { name: 'extra', version: '1.0' },
    { name: 'torch', version: '2.13.0', python: 'here', tag: 'here' },
  ]
  host = await OwnHost.start(wheels, ['torch==2.13.0', 'ops==1.0'])
  gate = join(host.folder, 'gate')
  before = treeHash(host.site, true)
})

afterAll(() => host.close())

const args = (name: string, wheels: string[], packages: string[] = []): string[] => ['install', '--pack', host.pack(name, wheels, packages), '--in-place', '--yes']
const versions = (): string => host.says('import importlib.metadata as m; print(*(f"{d.name}={d.version}" for d in sorted(m.distributions(), key=lambda d: d.name)))')
const restore = (json: unknown, home: string): Promise<CliResult> => host.start(['restore', (json as { snapshot: string }).snapshot], {}, home).ended

/** An install from one home that is half-way: it waits in an import until the gate is removed. */
async function halfWay(name: string, home: string): Promise<RunningCli> {
  writeFileSync(gate, '')
  const running = host.start(args(name, ['ops==2.0', 'waits==1.0']), { GATE: gate }, home)
  await until('the imports', () => running.stderr().includes('— verifying —'))
  return running
}

test('the second one waits, says so, and can be cancelled', async () => {
  const first = await halfWay('first', 'home')
  const second = host.start(args('second', [], ['extra']), {}, 'other-home')
  await until('the other to wait', () => second.stderr().includes('waiting for'))
  second.process.kill('SIGINT')
  expect((await second.ended).code).toBe(130)
  rmSync(gate)
  const done = await first.ended
  expect([done.code, versions()]).toEqual([0, 'ops=2.0+cputorch2.13 torch=2.13.0 waits=1.0+cputorch2.13'])
  expect((await restore(done.json, 'home')).code).toBe(0)
  expect(treeHash(host.site, true)).toBe(before)
})

test('what was killed half-way from one home is undone before another one changes anything', async () => {
  const first = await halfWay('killed', 'home')
  const second = host.start(args('next', [], ['extra']), {}, 'other-home')
  await until('the other to wait', () => second.stderr().includes('waiting for'))
  first.process.kill('SIGKILL')
  await first.ended
  const done = await second.ended.finally(() => rmSync(gate))
  expect([done.code, done.stderr]).toEqual([0, expect.stringContaining('An install for killed into ComfyUI’s own environment was broken off and has been undone.')])
  expect(versions()).toBe('extra=1.0 ops=1.0+cputorch2.13 torch=2.13.0')
  const info = await host.start(['info'], {}, 'home').ended
  expect(info.stderr).not.toContain('broken off')
  expect((await restore(done.json, 'other-home')).code).toBe(0)
  expect(treeHash(host.site, true)).toBe(before)
})

test('where the home of a killed install is gone, nothing is changed, and it is said what to do', async () => {
  const first = await halfWay('lost', 'home')
  first.process.kill('SIGKILL')
  await first.ended.finally(() => rmSync(gate))
  renameSync(join(host.folder, 'home'), join(host.folder, 'put-aside'))
  const now = treeHash(host.site, true)
  const refused = await host.start(args('next', [], ['extra']), {}, 'other-home').ended
  expect([refused.code, errorOf(refused)]).toMatchObject([1, { code: 'HOST_CHANGED', message: expect.stringContaining(join(host.folder, 'home')), hint: expect.stringMatching(/delete .*\.open/) }])
  expect(treeHash(host.site, true)).toBe(now)

  renameSync(join(host.folder, 'put-aside'), join(host.folder, 'home'))
  const next = await host.start(args('next', [], ['extra']), {}, 'other-home').ended
  expect([next.code, next.stderr]).toEqual([0, expect.stringContaining('An install for lost into ComfyUI’s own environment was broken off and has been undone.')])
  expect((await restore(next.json, 'other-home')).code).toBe(0)
  expect(treeHash(host.site, true)).toBe(before)
})
