/** What others of this computer find of a running bridge: nothing but its doors, and those locked. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Subject } from '../support/faults.ts'
import { run } from '../support/prompts.ts'
import { trouble } from '../support/workflows.ts'

describe.skipIf(process.platform !== 'linux')('a running bridge (read from /proc, so on Linux only)', () => {
  let subject: Subject
  beforeAll(async () => {
    subject = await Subject.start('trouble-maker')
    await run(subject.comfy.url, trouble('TroubleWhere'))
  })
  afterAll(() => subject.end())

  /** The bridge, its workers and ComfyUI. */
  const pids = async (): Promise<number[]> => [subject.connection().pid, (await subject.worker()).pid ?? 0, subject.comfy.process.pid ?? 0]

  test('listens on loopback only, and its workers on no port at all', async () => {
    const rows = ['tcp', 'tcp6'].flatMap((name) => readFileSync(`/proc/net/${name}`, 'utf8').trim().split('\n').slice(1).map((row) => row.trim().split(/\s+/)))
    const listening = rows.filter(([, , , state]) => state === '0A') // TCP_LISTEN (include/net/tcp_states.h)
    const [bridge = 0, worker = 0] = await pids()
    const of = (pid: number): (string | undefined)[] => {
      const inodes = new Set(readdirSync(`/proc/${pid}/fd`).flatMap((fd) => { try { return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [] } catch { return [] } })) // prettier-ignore
      return listening.filter((row) => inodes.has(row[9] ?? '')).map(([, local]) => local?.split(':')[0])
    }
    expect(of(bridge)).toEqual(['0100007F']) // 127.0.0.1, as the kernel writes it on this byte order
    expect(of(worker)).toEqual([])
  })

  test('its token stands in one file only: in no argument, no environment, no log', async () => {
    const { token, run } = subject.connection()
    for (const pid of await pids()) {
      for (const name of ['cmdline', 'environ']) expect(readFileSync(`/proc/${pid}/${name}`, 'utf8')).not.toContain(token)
    }
    const files = readdirSync(join(subject.comfy.base, 'user'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    const holding = files.map(({ parentPath, name }) => join(parentPath, name)).filter((path) => statSync(path).size < 5_000_000 && readFileSync(path).includes(token))
    expect(holding).toEqual([join(run, 'bridge.json')])
    expect(subject.comfy.output()).not.toContain(token)
  })

  test('its folder and what lies in it are this user’s alone; another user cannot connect', async () => {
    const { run: folder } = subject.connection()
    for (const each of [folder, dirname(folder)]) expect(lstatSync(each).mode & 0o777).toBe(0o700)
    expect(lstatSync(join(folder, 'bridge.json')).mode & 0o777).toBe(0o600)
    expect(readdirSync(join(subject.comfy.home, 'logs')).map((name) => lstatSync(join(subject.comfy.home, 'logs', name)).mode & 0o077)).not.toContain(0o044)
    if (process.getuid?.() !== 0 || !existsSync('/usr/bin/perl')) return console.warn('not tried as another user: that needs root and perl')
    execFileSync('chmod', ['a+rx', subject.comfy.base, join(subject.comfy.base, 'user'), subject.comfy.home]) // the run folder itself has to hold
    const connect = 'use IO::Socket::UNIX; print IO::Socket::UNIX->new(Peer => $ARGV[0]) ? "in" : "refused: $!"'
    const said = (socket: string, uid: number): string => spawnSync('/usr/bin/perl', ['-e', connect, join(folder, socket)], { encoding: 'utf8', cwd: '/', uid, gid: uid }).stdout
    const sockets = readdirSync(folder).filter((name) => name.endsWith('.sock'))
    expect(sockets.length).toBeGreaterThan(1) // the bridge's, and the one that the worker takes calls on
    for (const socket of sockets) expect([socket, said(socket, 0), said(socket, 65_534)]).toEqual([socket, 'in', 'refused: Permission denied'])
  })
})
