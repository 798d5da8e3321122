/** Workers in a sandbox, and with a memory limit. Needs bubblewrap: says so and skips without it. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startComfy } from '../support/comfy.ts'
import { fault, figure, Subject } from '../support/faults.ts'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { PanelClient } from '../support/panelClient.ts'
import { isAlive, until } from '../support/processes.ts'
import { finished, run } from '../support/prompts.ts'
import { sandboxWorks } from '../support/sandbox.ts'
import { trouble } from '../support/workflows.ts'

const works = sandboxWorks()
if (!works) console.warn('skipped: sandbox tests need bubblewrap and user namespaces (Linux)')

const segments = (): string[] => (existsSync('/dev/shm') ? readdirSync('/dev/shm').filter((name) => name.startsWith('envmanager-')) : [])

describe.skipIf(!works)('a sandboxed worker', () => {
  let subject: Subject
  let listener: Server
  let port = 0
  const before = segments()
  const secret = join(homedir(), `.envmanager-test-${process.pid}`)

  beforeAll(async () => {
    listener = createServer((socket) => socket.end()).listen(0, '127.0.0.1')
    await until('a port', () => listener.listening)
    port = (listener.address() as { port: number }).port
    writeFileSync(secret, 'mine')
    subject = await Subject.start('trouble-maker', { COMFY_ENV_SANDBOX: '*', A_SECRET: '1' }, ['fault-maker'])
    rmSync(join(subject.comfy.base, 'temp'), { recursive: true, force: true }) // as in a ComfyUI that has not written a preview yet
    await subject.panel.call('isolation.set', { pack: 'fault-maker', on: true })
  })
  afterAll(async () => {
    await subject.end()
    listener.close()
    rmSync(secret, { force: true })
    if (segments().join() !== before.join()) throw new Error(`left in shared memory: ${segments().join(', ')}`)
  })

  test('reaches its own files and nothing else: no home, no token, no network, no other process', async () => {
    const { base, home } = subject.comfy
    const own = join(base, 'custom_nodes', 'fault-maker')
    const outside = join(base, 'main-of-comfyui.py')
    const paths = [own, join(base, 'output'), '/usr/bin/env', secret, join(subject.connection().run, 'bridge.json'), join(home, 'state.json'), '/var/log']
    const writes = [join(own, 'cache.txt'), join(base, 'output', 'made.txt'), join(base, 'temp', 'made.txt'), outside, join(base, 'custom_nodes', 'trouble-maker', '__init__.py'), '/usr/made.txt']
    const { outputs } = await run(subject.comfy.url, fault('FaultReach', { paths: JSON.stringify(paths), writes: JSON.stringify(writes), port }))
    const found = JSON.parse(String(outputs['3']?.text?.[0])) as Record<string, unknown>
    expect(found).toMatchObject({ read: [true, true, true, false, false, false, false], written: [true, true, true, false, false, false], connected: false, environment: false })
    expect(found.processes).toBeLessThanOrEqual(3) // bubblewrap's own, and itself
    expect(readFileSync(join(base, 'output', 'made.txt'), 'utf8')).toBe('from a node')
    expect(existsSync(outside)).toBe(false)
    expect((await subject.panel.snapshot()).workers.map(({ sandboxed }) => sandboxed)).toEqual([true, true])
  })

  test('images go through it and back, and from it to another', async () => {
    const { outputs } = await run(subject.comfy.url, {
      '1': { class_type: 'EmptyImage', inputs: { width: 512, height: 512, batch_size: 4, color: 0x204060 } },
      '2': { class_type: 'TroubleWhere', inputs: { image: ['1', 0] } },
      '4': { class_type: 'TroubleInPlace', inputs: { image: ['1', 0] } },
      '5': { class_type: 'PreviewImage', inputs: { images: ['4', 0] } },
      '6': { class_type: 'PreviewImage', inputs: { images: ['1', 0] } },
      '3': { class_type: 'PreviewAny', inputs: { source: ['2', 0] } },
    })
    expect(outputs['5']?.images).toHaveLength(4)
    expect(outputs['6']?.images).toHaveLength(4)
  })

  test('kill -9, a crash and an interrupt are told as they are without a sandbox', async () => {
    const { prompt, pid } = await subject.running(trouble('TroubleBusy', { seconds: 60 }), 'busy')
    await fetch(`${subject.comfy.url}/api/interrupt`, { method: 'POST' })
    expect((await finished(subject.comfy.url, prompt)).end).toBe('execution_interrupted')
    expect((await run(subject.comfy.url, trouble('TroubleWhere'))).status).toBe('success')
    expect((await subject.worker()).pid).toBe(pid) // its Python loop was interrupted: it was not ended
    const { error } = await run(subject.comfy.url, trouble('TroubleCrash', { how: 'segfault' }))
    expect(error.exception_message).toMatch(/was ended by SIGSEGV/)
    const again = await run(subject.comfy.url, trouble('TroubleCrash', { how: 'exit42' }))
    expect(again.error.exception_message).toMatch(/ended with exit code 42/)
    await subject.forgive()
    const second = await subject.running(trouble('TroubleSleep', { seconds: 60 }), 'sleeping')
    process.kill(second.pid, 'SIGKILL')
    expect((await finished(subject.comfy.url, second.prompt)).error.exception_message).toMatch(/was ended by SIGKILL/)
    await until('all of it to be gone', () => !isAlive(second.pid))
    await subject.forgive()
  })

  test('its routes are served', async () => {
    expect(await (await fetch(`${subject.comfy.url}/trouble/one?a=1`)).json()).toMatchObject({ name: 'one' })
  })

  test('the bridge is killed: its workers go, and calls work again', async () => {
    const { pid } = await subject.worker()
    process.kill(subject.connection().pid, 'SIGKILL')
    await until('the worker to end', () => !isAlive(pid ?? 0), 2000)
    subject.panel.close()
    subject.panel = await PanelClient.connect(subject.comfy.url)
    await until('calls to work again', async () => (await run(subject.comfy.url, trouble('TroubleWhere'))).status === 'success', 20_000)
    expect((await subject.worker()).sandboxed).toBe(true)
  })
})

test('without bubblewrap a pack that is to be sandboxed does not run at all', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-nobwrap-'))
  mkdirSync(join(folder, 'bin'))
  symlinkSync(process.execPath, join(folder, 'bin', 'node'))
  const comfy = await startComfy({ frontend: FRONTENDS[0], packs: ['fault-maker'], env: { COMFY_ENV_SANDBOX: 'fault-maker', PATH: join(folder, 'bin') } })
  const panel = await PanelClient.connect(comfy.url)
  try {
    await panel.until(({ packs }) => packs.some(({ state }) => state === 'ready'), 'the pack')
    await expect(panel.call('isolation.set', { pack: 'fault-maker', on: true })).rejects.toThrow(/SANDBOX_UNAVAILABLE/)
    expect((await panel.snapshot()).workers).toEqual([])
  } finally {
    panel.close()
    await comfy.stop()
    comfy.remove()
    rmSync(folder, { recursive: true, force: true })
  }
})

describe.skipIf(process.platform !== 'linux')('a worker with a memory limit', () => {
  let subject: Subject
  beforeAll(async () => void (subject = await Subject.start('fault-maker', { COMFY_ENV_WORKER_MEMORY_GB: '2' })))
  afterAll(() => subject.end())

  test.each(['bytes', 'torch'])('6: a node that takes too much (%s) fails by name, and its worker lives', async (kind) => {
    expect((await run(subject.comfy.url, fault('FaultMemory', { megabytes: 100, kind }))).status).toBe('success')
    const { pid } = await subject.worker()
    const { error } = await run(subject.comfy.url, fault('FaultMemory', { megabytes: 4000, kind }))
    expect(error.exception_message).toMatch(/FaultMemory \(node 2\) wanted more memory than its worker may take: the memory limit is 2 GB/)
    expect((await run(subject.comfy.url, fault('FaultEcho', { number: 6, milliseconds: 0 }))).outputs['3']?.text?.[0]).toBe('number 6')
    expect((await subject.worker()).pid).toBe(pid)
    if (kind === 'torch') figure(6, 'the node fails with “memory limit”, for Python and for torch; its worker lives')
  })

  test('a worker goes before ComfyUI when the machine has no memory left', async () => {
    const { pid } = await subject.worker()
    expect(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8').trim()).toBe('500')
  })
})
