/** What the machine and its user do to a running product: clocks, process ids, a second ComfyUI, lost writes, slow disks. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'smol-toml'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { FRONTENDS, PYTHON, ROOT } from '../../scripts/devPython.ts'
import { SHARED_CACHE } from '../support/cache.ts'
import { comfyEnv } from '../support/cli.ts'
import { bridgesOf, type Connection, startComfy } from '../support/comfy.ts'
import { fault, figure, Subject, TIMES } from '../support/faults.ts'
import { isAlive, until } from '../support/processes.ts'
import { run } from '../support/prompts.ts'
import { startWheelIndex } from '../support/wheelIndex.ts'

function connectionOf(home: string): Connection {
  const [found] = bridgesOf(home)
  if (!found) throw new Error('no bridge')
  return found
}

const temporary = (name: string): string => mkdtempSync(join(tmpdir(), `envmanager-${name}-`))

/** A frame of the call path as docs/protocol.md has it: two lengths, a header, a body. */
function frame(header: unknown, body: Buffer): Buffer {
  const head = Buffer.from(JSON.stringify(header))
  const sizes = Buffer.alloc(8)
  sizes.writeUInt32BE(head.length, 0)
  sizes.writeUInt32BE(body.length, 4)
  return Buffer.concat([sizes, head, body])
}

/** The headers of the whole frames in these bytes. */
function headersIn(bytes: Buffer): { id?: number; error?: { code: string } }[] {
  if (bytes.length < 8) return []
  const [head, body] = [bytes.readUInt32BE(0), bytes.readUInt32BE(4)]
  const end = 8 + head + body
  return bytes.length < end ? [] : [JSON.parse(bytes.subarray(8, 8 + head).toString()) as { id?: number }, ...headersIn(bytes.subarray(end))]
}

/** Sends frames on a connection of the call path and gives the headers of so many answers. */
function speak({ port, token }: Connection, frames: Buffer[], answers: number): Promise<ReturnType<typeof headersIn>> {
  return new Promise((done, failed) => {
    let [heard, begun] = [Buffer.alloc(0), false]
    const link = connect(port, '127.0.0.1').on('error', failed)
    link.write(['GET /calls HTTP/1.1', `Host: 127.0.0.1:${port}`, 'Connection: Upgrade', 'Upgrade: envmanager-calls', `Authorization: Bearer ${token}`, '', ''].join('\r\n'))
    link.on('data', (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk])
      if (!begun) {
        begun = true
        heard = heard.subarray(heard.indexOf('\r\n\r\n') + 4)
        frames.forEach((each) => link.write(each))
      }
      const told = headersIn(heard)
      if (told.length < answers) return
      link.destroy()
      done(told)
    })
  })
}

test('27: one call sent twice runs once, on one connection and on another', async () => {
  const subject = await Subject.start('fault-maker')
  try {
    const call = { call: 'twice-1', pack: 'fault-maker', class: 'FaultEcho', method: 'FUNCTION', node: '2', prompt: null }
    const sent = (id: number): Buffer => frame({ id, call }, Buffer.from(JSON.stringify({ $: 'dict', v: [['number', 27], ['milliseconds', 200]] })))
    const first = await speak(connectionOf(subject.comfy.home), [sent(1), sent(2)], 2)
    const again = await speak(connectionOf(subject.comfy.home), [sent(1)], 1)
    const refused = [...first, ...again].filter(({ error }) => error !== undefined)
    expect(refused.map(({ error }) => error?.code)).toEqual(['BAD_REQUEST', 'BAD_REQUEST'])
    expect((await subject.worker()).calls).toBe(1)
    figure(27, 'sent three times, run once')
  } finally {
    await subject.end()
  }
})

const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1'
test.skipIf(!existsSync(FAKETIME))('28: the clock jumps a day ahead and back: no worker ends, and calls go on', async () => {
  const folder = temporary('clock')
  const [clock, node] = [join(folder, 'clock'), join(folder, 'node')]
  writeFileSync(clock, '+0')
  writeFileSync(node, `#!/bin/sh\nexport LD_PRELOAD=${FAKETIME} FAKETIME_TIMESTAMP_FILE=${clock} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1\nexec ${process.execPath} --import 'data:text/javascript,delete process.env.LD_PRELOAD' "$@"\n`)
  chmodSync(node, 0o755)
  const subject = await Subject.start('fault-maker', { COMFY_ENV_NODE: node })
  try {
    const echo = async (): Promise<unknown> => (await run(subject.comfy.url, fault('FaultEcho', { number: Math.random(), milliseconds: 0 }))).status
    expect(await echo()).toBe('success')
    await until('the call to be told', async () => (await subject.worker()).last_call !== null)
    const { pid } = await subject.worker()
    for (const jump of ['+86400', '-86400']) {
      const before = (await subject.worker()).last_call?.ended ?? 0
      writeFileSync(clock, jump)
      await new Promise((done) => setTimeout(done, 7000)) // idle workers and their health are looked at every five and two seconds
      expect(await subject.worker()).toMatchObject({ pid, health: 'ok', restarts: 0 })
      expect(await echo()).toBe('success')
      await until('the bridge’s clock to jump', async () => Math.abs(((await subject.worker()).last_call?.ended ?? 0) - before) > 80_000_000)
    }
    figure(28, 'a day ahead and two back: the same worker, no restart')
  } finally {
    await subject.end()
    rmSync(folder, { recursive: true, force: true })
  }
})

test('29: a file that names a process id of another program by now: that program lives, and we start', async () => {
  const stranger = spawn('sleep', ['1000'], { stdio: 'ignore' })
  const base = temporary('reused')
  const home = join(base, 'user', '__envmanager')
  const left = join(home, 'run', '0123456789ab')
  mkdirSync(left, { recursive: true })
  writeFileSync(join(left, 'alive.lock'), '')
  writeFileSync(join(left, 'bridge.json'), JSON.stringify({ protocol: 1, port: 9, socket: null, segments: null, token: 'ab'.repeat(32), pid: stranger.pid }))
  const turns = join(home, 'jobs', 'fault-maker.turns')
  mkdirSync(turns, { recursive: true })
  writeFileSync(join(turns, `000000000000001-${stranger.pid}-1-abcdef`), '') // drawn by a process that started at another time
  utimesSync(turns, 1, 1)
  const comfy = await startComfy({ frontend: FRONTENDS[0], packs: ['fault-maker'], base })
  try {
    await until('a bridge', () => bridgesOf(home, comfy.process.pid).length === 1)
    expect(existsSync(left)).toBe(false) // nobody holds its lock, whoever has the process id
    expect(existsSync(turns)).toBe(false) // older versions stood in line there
    expect(isAlive(stranger.pid ?? 0)).toBe(true)
  } finally {
    await comfy.stop()
    comfy.remove()
    expect(isAlive(stranger.pid ?? 0)).toBe(true)
    stranger.kill('SIGKILL')
  }
  figure(29, 'the stranger lives, the bridge starts')
})

test('30: two ComfyUI of one user: each has its bridge and its workers', async () => {
  const [one, two] = await Promise.all([Subject.start('fault-maker'), Subject.start('fault-maker')])
  try {
    const echo = (subject: Subject, number: number): Promise<unknown> => run(subject.comfy.url, fault('FaultEcho', { number, milliseconds: 5 })).then(({ outputs }) => outputs['3']?.text?.[0])
    const answers = await Promise.all(Array.from({ length: 20 }, (_, at) => echo(at % 2 === 0 ? one : two, at)))
    expect(answers).toEqual(Array.from({ length: 20 }, (_, at) => `number ${at}`))
    await until('both to have had their own ten', async () => (await one.worker()).calls === 10 && (await two.worker()).calls === 10)
    expect((await one.worker()).pid).not.toBe((await two.worker()).pid)
    figure(30, '20 calls, 10 each')
  } finally {
    await Promise.all([one.end(), two.end()])
  }
})

/** A bridge without ComfyUI, and a socket that may change settings. */
async function bareBridge(home: string): Promise<{ process: ChildProcess; socket: WebSocket }> {
  const child = spawn(process.execPath, [join(ROOT, 'bridge', 'dist', 'comfy-env.mjs'), 'serve', '--json', '--home', home], { env: { ...process.env, COMFY_ENV_INTERPRETER: PYTHON, COMFY_ENV_REGISTRY: 'off' }, stdio: ['pipe', 'pipe', 'ignore'] })
  await new Promise((done) => child.stdout?.once('data', done))
  const { port, token } = connectionOf(home)
  const socket = new WebSocket(`ws://127.0.0.1:${port}/panel`, { headers: { authorization: `Bearer ${token}` } })
  await new Promise((done, failed) => socket.once('open', done).once('error', failed))
  return { process: child, socket }
}

/** Forgets what the system keeps of files that were written; where that is not ours to do, the kill alone must do. */
function dropCaches(): boolean {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3')
    return true
  } catch {
    return false
  }
}

const idleMinutes = (file: string): number => (parse(readFileSync(file, 'utf8')) as { workers: { idle_minutes: number } }).workers.idle_minutes

test('33: killed in the middle of writing state, caches dropped: the file is whole, and has one of the last values', async () => {
  const home = temporary('power')
  const file = join(home, 'settings.toml')
  let kept = 0
  let dropped = false
  try {
    for (let round = 0; round < TIMES; round++) {
      const { process: bridge, socket } = await bareBridge(home)
      let sent = 0
      socket.on('error', () => undefined)
      const first = kept
      const ended = new Promise((done) => bridge.once('exit', done))
      const sending = setInterval(() => socket.send(JSON.stringify({ id: ++sent, method: 'settings.set', params: { idle_minutes: first + sent } })), 5)
      await until('writes', () => existsSync(file) && idleMinutes(file) > first + round)
      bridge.kill('SIGKILL')
      clearInterval(sending)
      await ended
      socket.terminate()
      dropped = dropCaches()
      kept = idleMinutes(file)
      expect(kept).toBeGreaterThan(first + round)
      expect(kept).toBeLessThanOrEqual(first + sent)
    }
    figure(33, `${TIMES} of ${TIMES} whole, ${dropped ? 'caches dropped' : 'by kills alone'}; no layer that loses writes`)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})

function straceWorks(): boolean {
  try {
    execFileSync('strace', ['-f', '--seccomp-bpf', '-o', '/dev/null', '-e', 'inject=openat:delay_enter=1', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

test.skipIf(!straceWorks())('51: a disk on which every open of a file is slow, as under a virus scanner: the install is slow, and done', async () => {
  const index = await startWheelIndex(PYTHON)
  const base = temporary('slow')
  const uv = join(base, 'uv')
  const real = execFileSync(PYTHON, ['-c', 'from uv import find_uv_bin; print(find_uv_bin())'], { encoding: 'utf8' }).trim()
  writeFileSync(uv, `#!/bin/sh\nexec strace -f --seccomp-bpf -o /dev/null -e trace=openat -e inject=openat:delay_enter=20ms "${real}" "$@"\n`)
  chmodSync(uv, 0o755)
  const pack = join(ROOT, 'e2e', 'packs', 'vintage-tone')
  const install = async (home: string, env: Record<string, string>): Promise<number> => {
    const began = performance.now()
    const { code, stderr } = await comfyEnv(['install', '--pack', pack, '--home', join(base, home), '--yes', '--json'], { env: { COMFY_ENV_SOURCES: index.simple, COMFY_ENV_CACHE: SHARED_CACHE, ...env } })
    expect(stderr + String(code)).toMatch(/0$/)
    return (performance.now() - began) / 1000
  }
  try {
    const quick = await install('quick', {})
    const slow = await install('slow', { COMFY_ENV_UV: uv })
    figure(51, `20 ms more for each open of uv: ${slow.toFixed(0)} s, ${quick.toFixed(0)} s without`)
  } finally {
    await index.close()
    rmSync(base, { recursive: true, force: true })
  }
}, 300_000)
