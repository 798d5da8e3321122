import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { PYTHON } from '../../scripts/devPython.ts'
import { BareBridge } from '../support/bareBridge.ts'
import { startComfyEnv } from '../support/cli.ts'
import { Installs, LOCAL } from '../support/installs.ts'
import { isAlive, until } from '../support/processes.ts'
import { startWheelIndex } from '../support/wheelIndex.ts'

let on: Installs

beforeAll(async () => {
  on = new Installs(mkdtempSync(join(tmpdir(), 'envmanager-ends-')), await startWheelIndex(PYTHON, [{ name: 'plainly', version: '1.0' }]))
})

afterAll(async () => {
  await on.index.close()
  rmSync(on.folder, { recursive: true, force: true })
})

const pidFile = (name: string): string => join(on.folder, `${name}.pid`)
/** A shell script that waits; its process writes its own id. */
const waits = (name: string): string => `echo $$ > ${pidFile(name)}.new; mv ${pidFile(name)}.new ${pidFile(name)}; exec sleep 60`
/** A pack whose install script starts a process that waits, and waits for that. */
const needy = (name: string): string => on.pack(name, [], ['plainly==1.0'], { 'install.py': `import subprocess\nsubprocess.run(["sh", "-c", ${JSON.stringify(waits(name))}])\n` })

async function startedPid(name: string): Promise<number> {
  await until('the process', () => existsSync(pidFile(name)))
  return Number(readFileSync(pidFile(name), 'utf8'))
}

const isGone = async (pid: number): Promise<number> => until('its end', () => !isAlive(pid), 5000)

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s ends a command with all that an install script has started', async (signal) => {
  const running = on.start(needy(`script-${signal}`), signal)
  const pid = await startedPid(`script-${signal}`)
  running.process.kill(signal)
  const asked = Date.now()
  const { code } = await running.ended
  expect([code, Date.now() - asked < 5000]).toEqual([130, true])
  await isGone(pid)
})

test('Ctrl-C ends a command that does not listen to it, and the program that it asks', async () => {
  const python = join(on.folder, 'python')
  writeFileSync(python, `#!/bin/sh\n${waits('asked')}\n`, { mode: 0o755 })
  const running = startComfyEnv(['info', '--home', on.home('asked')], { env: { COMFY_ENV_INTERPRETER: python } })
  const pid = await startedPid('asked')
  running.process.kill('SIGINT')
  await running.ended
  expect(running.process.signalCode).toBe('SIGINT')
  await isGone(pid)
})

test('a cancelled job is over at once, and the bridge’s end ends what a script has started', async () => {
  const comfyui = join(on.folder, 'comfy')
  mkdirSync(comfyui)
  writeFileSync(join(comfyui, 'main.py'), '')
  for (const name of ['cancelled', 'cut-off']) cpSync(needy(name), join(comfyui, 'custom_nodes', name), { recursive: true })
  const home = on.home('bridge')
  const bridge = await BareBridge.start(['--home', home, '--comfyui', comfyui], on.settings)
  const jobs = async (): Promise<string[]> => ((await bridge.snapshot())?.jobs ?? []).map(({ state }) => state.status)
  const { job } = (await bridge.call('install.start', { pack: 'cancelled' })).result as { job: string }
  const first = await startedPid('cancelled')
  await bridge.call('job.cancel', { job })
  await until('the job’s end', async () => (await jobs()).join() === 'cancelled', 5000)
  const queue = (): string => readFileSync(join(home, 'jobs', 'queue.json'), 'utf8')
  await until('its leaving the queue', () => !queue().includes(job))
  await isGone(first)
  await bridge.call('install.start', { pack: 'cut-off' })
  const second = await startedPid('cut-off')
  expect(await bridge.end()).toBe('0')
  await isGone(second)
  expect(queue()).toContain('cut-off')
})

test.skipIf(process.platform === 'win32')('what an install script has started ends with a command that is killed (skipped on Windows: no group there)', async () => {
  const running = on.start(needy('killed'), 'killed')
  const pid = await startedPid('killed')
  running.process.kill('SIGKILL')
  await running.ended
  await isGone(pid)
  expect(running.process.signalCode).toBe('SIGKILL')
})

/** Python code by which a process writes its own id and waits. */
const pyWaits = (name: string): string => `
import os, time
with open(${JSON.stringify(`${pidFile(name)}.new`)}, "w") as file: file.write(str(os.getpid()))
os.rename(${JSON.stringify(`${pidFile(name)}.new`)}, ${JSON.stringify(pidFile(name))})
time.sleep(60)
`

test.skipIf(process.platform === 'win32')('an import that is tried ends with a command that is killed (skipped on Windows: no group there)', async () => {
  const index = await startWheelIndex(PYTHON, [{ name: 'hangs', version: '1.0', ...LOCAL, code: pyWaits('tried') }])
  const other = new Installs(join(on.folder, 'other'), index)
  const running = other.start(other.pack('tries', ['hangs']), 'tries')
  const pid = await startedPid('tried')
  running.process.kill('SIGKILL')
  await running.ended
  await isGone(pid)
  expect(running.process.signalCode).toBe('SIGKILL')
  await index.close()
})

test.skipIf(process.platform === 'win32')('a script that does not heed a cancel ends with a command that is killed meanwhile (skipped on Windows: no group there)', async () => {
  const told = join(on.folder, 'told')
  const ignores = `import signal\nsignal.signal(signal.SIGTERM, lambda *_: open(${JSON.stringify(told)}, "w").close())\n${pyWaits('ignores')}time.sleep(60)\n`
  const running = on.start(on.pack('ignores', [], ['plainly==1.0'], { 'install.py': ignores }), 'ignores')
  const pid = await startedPid('ignores')
  running.process.kill('SIGINT')
  await until('the cancel', () => existsSync(told), 5000)
  running.process.kill('SIGKILL') // before the second is over that the script has
  await running.ended
  await isGone(pid)
  expect(running.process.signalCode).toBe('SIGKILL')
})

test.skipIf(process.platform === 'win32')('a script has all our variables, and no child that is not its own (skipped on Windows: no shell there)', async () => {
  const out = join(on.folder, 'asked')
  const asks = `import os
said = [os.environ.get("my.var"), os.environ.get("MY-VAR")]
try: said.append(os.wait())
except ChildProcessError: said.append("no children")
with open(${JSON.stringify(out)}, "w") as file: print(*said, file=file, end="")
`
  const { code } = await on.start(on.pack('asks', [], ['plainly==1.0'], { 'install.py': asks }), 'asks', [], { 'my.var': '1', 'MY-VAR': "a'b c" }).ended
  expect([code, readFileSync(out, 'utf8')]).toEqual([0, "1 a'b c no children"])
})

test.skipIf(process.platform !== 'linux')('a process of a session of its own ends with the script that has started it (skipped but on Linux: nothing tells whose it is)', async () => {
  const starts = `import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", ${JSON.stringify(pyWaits('apart'))}], start_new_session=True)
while not os.path.exists(${JSON.stringify(pidFile('apart'))}): time.sleep(0.01)
`
  const { code } = await on.start(on.pack('apart', [], ['plainly==1.0'], { 'install.py': starts }), 'apart').ended
  expect(code).toBe(0)
  await isGone(await startedPid('apart'))
})
