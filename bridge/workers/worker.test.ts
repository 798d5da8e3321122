import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { NodeCall } from '../../schemas/shimLink'
import { BridgeError } from '../errors/bridgeError'
import { LogFile } from '../jobs/logFile'
import { Retired } from './lifecycle'
import { Worker } from './worker'
import type { WorkerEvents, WorkerSpec } from './workerSpec'

/** Stands for a worker's Python: writes down that it was started and what it was given, and does as the file `how` says. */
const FAKE = `#!${process.execPath}
const fs = require('node:fs'), net = require('node:net'), path = require('node:path')
const folder = path.dirname(process.argv[1])
const note = (text) => fs.appendFileSync(path.join(folder, 'notes'), text + ' ' + process.pid + '\\n')
const how = fs.readFileSync(path.join(folder, 'how'), 'utf8').split(' ')
note('started')
const starts = fs.readFileSync(path.join(folder, 'notes'), 'utf8').split('\\n').filter((line) => line.startsWith('started')).length
const loaded = { classes: [], skipped: [], web_directory: null, web_directories: {}, routes: [], prompt_handlers: 0, replacements: [], cache_providers: [], folders: {}, web_socket: null, key: 'k1', code: 'c1' }
const answer = (header, body = '{}') => {
  const head = Buffer.from(JSON.stringify(header)), rest = Buffer.from(body), sizes = Buffer.alloc(8)
  sizes.writeUInt32BE(head.length, 0); sizes.writeUInt32BE(rest.length, 4)
  fs.writeSync(4, Buffer.concat([sizes, head, rest]))
}
const tell = (message) => fs.writeSync(1, JSON.stringify(message) + '\\n')
const lines = require('node:readline').createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const { id, method } = JSON.parse(line)
  if (method === 'worker.ping') tell({ id, result: { busy: how.includes('busy'), beside_ms: null } })
})
let waiting = Buffer.alloc(0)
const tasks = new net.Socket({ fd: 3 })
tasks.on('end', () => how.includes('stays') || process.exit(0))
tasks.on('data', async (chunk) => {
  waiting = Buffer.concat([waiting, chunk])
  while (waiting.length >= 8 && waiting.length >= 8 + waiting.readUInt32BE(0) + waiting.readUInt32BE(4)) {
    const head = waiting.readUInt32BE(0), body = waiting.readUInt32BE(4)
    const header = JSON.parse(waiting.toString('utf8', 8, 8 + head))
    waiting = waiting.subarray(8 + head + body)
    if (header.hello && how.includes('fails-first') && starts === 1) { answer({ id: header.id, error: { code: 'INTERNAL', message: 'as asked', hint: '' } }); continue }
    if (header.hello && how.includes('starts-slowly')) await new Promise((done) => setTimeout(done, 400))
    if (header.load && how.includes('loads-slowly')) await new Promise((done) => setTimeout(done, 400))
    if (header.load) answer({ id: header.id }, JSON.stringify({ pack: header.load.pack, ...loaded }))
    else if (header.call) { note('call ' + header.call.call); if (how.includes('keeps')) tell({ method: 'handles.kept', params: { count: 1 } }); answer({ id: header.id }, '1') }
    else answer({ id: header.id })
  }
})
`

let folder: string
let worker: Worker
let gone: string[]

const notes = (): string[] => readFileSync(join(folder, 'notes'), 'utf8').split('\n').filter(Boolean)
const pids = (): number[] => notes().filter((line) => line.startsWith('started')).map((line) => Number(line.split(' ')[1]))
const calls = (): string[] => notes().filter((line) => line.startsWith('call')).map((line) => line.split(' ')[1] ?? '')
const isAlive = (pid: number): boolean => {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z')
  } catch {
    return false
  }
}
const call = (id: string, more: Partial<NodeCall> = {}): NodeCall => ({ call: id, pack: 'p', class: 'Node', method: 'FUNCTION', node: '1', prompt: null, ...more })
const run = (id: string, more: Partial<NodeCall> = {}): Promise<string> =>
  worker.call(call(id, more), Buffer.from('{}'), () => undefined).then(({ body }) => body.toString(), (error: { code: string }) => error.code)

function make(how: string, check = async (): Promise<void> => undefined): void {
  writeFileSync(join(folder, 'how'), how)
  writeFileSync(join(folder, 'notes'), '')
  const spec: WorkerSpec = {
    id: 'p#1', env: null, generation: null, check, leave: () => undefined, python: join(folder, 'python'), shim: folder, packs: [{ id: 'p', dir: folder }], variables: {}, memoryBytes: null,
    sandbox: null, segments: null, classes: '', socket: () => null, straight: null,
  }
  const events: WorkerEvents = {
    onChange: () => undefined, onLoaded: () => undefined, onGone: (owner) => gone.push(owner), onReleased: () => undefined, folders: () => null,
    notes: { 'host.event': () => undefined, 'lease.release': () => undefined },
  }
  worker = new Worker(spec, new LogFile(join(folder, 'log'), () => undefined), events)
}

describe.skipIf(process.platform !== 'linux')('a worker (skipped: needs Linux)', () => {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'envmanager-worker-'))
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'python'), FAKE)
    chmodSync(join(folder, 'python'), 0o700)
    gone = []
  })

  afterEach(async () => {
    await worker.stop()
    const left = pids().filter(isAlive)
    rmSync(folder, { recursive: true })
    if (left.length > 0) throw new Error(`left: ${left.join(', ')}`)
  })

  test('a start that fails and a call at once: one process after the other, and none is left', async () => {
    make('fails-first')
    expect(await run('a')).toBe('INTERNAL')
    expect(await run('b')).toBe('1')
    expect(pids()).toHaveLength(2)
    expect(worker.pid).toBe(pids()[1])
    await pause(300)
    expect([isAlive(pids()[0] ?? 0), worker.pid]).toEqual([false, pids()[1]])
  })

  test('what its environment was made from is looked at before each start, and nothing is started while it is gone', async () => {
    let isGone = false
    make('', () => (isGone ? Promise.reject(new BridgeError('ENV_BROKEN', 'gone')) : Promise.resolve()))
    expect(await run('a')).toBe('1')
    await worker.stop()
    isGone = true
    expect([await run('b'), pids().length]).toEqual(['ENV_BROKEN', 1])
    isGone = false
    expect([await run('c'), pids().length]).toEqual(['1', 2])
  })

  test('stopped while it starts: the process goes, and who waits gets the next one', async () => {
    make('starts-slowly')
    const waits = run('a')
    while (pids().length === 0) await pause(10)
    await worker.stop()
    expect(await waits).toBe('1')
    expect(pids()).toHaveLength(2)
    expect(gone).toHaveLength(1)
  })

  test('ended for good while calls wait for its start: they have not run, and no process comes', async () => {
    make('starts-slowly')
    const waits = worker.call(call('a'), Buffer.from('{}'), () => undefined).catch((error: unknown) => error)
    while (pids().length === 0) await pause(10)
    await worker.retire()
    expect(await waits).toBeInstanceOf(Retired)
    await pause(100)
    expect([calls(), pids().length, worker.pid]).toEqual([[], 1, null])
  })

  test('a call that is cancelled while its worker starts does not run', async () => {
    make('starts-slowly')
    const waits = run('a')
    while (pids().length === 0) await pause(10)
    expect(worker.cancel('a')).toBe(true)
    expect(await waits).toBe('NODE_INTERRUPTED')
    expect(await run('b')).toBe('1')
    expect(calls()).toEqual(['b'])
  })

  test('a call with an object of another process is given to nobody', async () => {
    make('')
    await run('a')
    const first = worker.owner ?? ''
    expect(await run('b', { owners: [first] })).toBe('1')
    await worker.stop()
    expect(await run('c', { owners: [first] })).toBe('HANDLE_GONE')
    expect(calls()).toEqual(['a', 'b'])
  })

  test('a patient stop ends though the end of a call was never told', async () => {
    make('stays')
    await run('a')
    void worker.account(call('b'), new Promise(() => undefined)).catch(() => undefined)
    const began = performance.now()
    await worker.stop(true)
    expect(performance.now() - began).toBeLessThan(6000)
  }, 10_000)

  test('a patient stop waits for what runs, until somebody insists', async () => {
    make('stays busy')
    await run('a')
    void worker.account(call('b'), new Promise(() => undefined)).catch(() => undefined)
    const stopped = worker.stop(true)
    expect(await Promise.race([stopped, pause(4000, 'waits')])).toBe('waits')
    void worker.stop()
    await stopped
  }, 10_000)

  test('one that imports its pack is not idle, however long that takes', async () => {
    make('loads-slowly')
    const loading = worker.import('p')
    while (worker.owner === null) await pause(5)
    await pause(100)
    expect(worker.idleMs).toBe(0)
    await loading
    await pause(20)
    expect(worker.idleMs).toBeGreaterThan(0)
  })

  test('one that keeps objects for ComfyUI says so', async () => {
    make('keeps')
    expect(worker.keepsObjects).toBe(false)
    await run('a')
    while (!worker.keepsObjects) await pause(10)
    await worker.stop()
    expect(worker.keepsObjects).toBe(false)
  })
})
