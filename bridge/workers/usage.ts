import { readFile } from 'node:fs/promises'
import type { WorkerUsage } from '../../schemas/worker'
import { smiPath } from '../probe/gpu'
import { run } from '../run'

/** What one look at a process tree gives: seconds of CPU so far, and its resident memory. */
interface Sample {
  pids: number[]
  cpuSeconds: number
  memory: number
}

/** Clock ticks a second in `/proc/<pid>/stat`: USER_HZ, 100 on every Linux that runs Node (`man 5 proc_pid_stat`). */
const TICKS = 100

/** Fields 14 and 15 of `/proc/<pid>/stat`, user and system time. The name before them may hold spaces and brackets. */
export function cpuOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

/** `VmRSS` of `/proc/<pid>/status`, in bytes. */
export const memoryOf = (status: string): number => Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024

async function linux(pid: number): Promise<Sample> {
  const [stat, status, children] = await Promise.all(['stat', 'status', `task/${pid}/children`].map((name) => readFile(`/proc/${pid}/${name}`, 'utf8')))
  const below = await Promise.all((children ?? '').split(' ').filter(Boolean).map((child) => linux(Number(child)).catch(() => null)))
  const all = below.filter((sample) => sample !== null)
  return {
    pids: [pid, ...all.flatMap(({ pids }) => pids)],
    cpuSeconds: all.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, cpuOf(stat ?? '')),
    memory: all.reduce((sum, { memory }) => sum + memory, memoryOf(status ?? '')),
  }
}

/** `cputime` of `ps`: [[dd-]hh:]mm:ss.cc, in seconds. */
export function psSeconds(text: string): number {
  const [days, clock = ''] = text.includes('-') ? text.split('-') : ['0', text]
  return clock.split(':').reduce((sum, part) => sum * 60 + Number(part), 0) + Number(days) * 86_400
}

async function mac(pid: number): Promise<Sample> {
  const { stdout } = await run('/bin/ps', ['-o', 'rss=,time=', '-p', String(pid)], 2000)
  const [rss = '0', time = '0'] = stdout.trim().split(/\s+/)
  return { pids: [pid], cpuSeconds: psSeconds(time), memory: Number(rss) * 1024 }
}

async function windows(pid: number): Promise<Sample> {
  const ask = `$p = Get-Process -Id ${pid}; "$($p.TotalProcessorTime.TotalSeconds) $($p.WorkingSet64)"`
  const { stdout } = await run('C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe', ['-NoProfile', '-NonInteractive', '-Command', ask], 5000)
  const [cpu = '0', memory = '0'] = stdout.trim().replace(',', '.').split(' ')
  return { pids: [pid], cpuSeconds: Number(cpu), memory: Number(memory) }
}

const sample = { linux, darwin: mac, win32: windows }[process.platform as string] ?? linux

/** How often it is looked: starting PowerShell costs more than what it would tell. */
export const LOOK_MS = process.platform === 'win32' ? 15_000 : 2000

/** Lines `pid, MiB` of `nvidia-smi --query-compute-apps`. Where the driver does not tell (WDDM), there is no number. */
export function parseVram(text: string): Map<number, number> {
  const found = new Map<number, number>()
  for (const line of text.split('\n')) {
    const [, pid, mebibytes] = /^\s*(\d+)\s*,\s*(\d+)/.exec(line) ?? []
    if (pid && mebibytes) found.set(Number(pid), (found.get(Number(pid)) ?? 0) + Number(mebibytes) * 1024 * 1024)
  }
  return found
}

/** Memory on NVIDIA GPUs by process; null where no driver answers. */
export async function readVram(): Promise<Map<number, number> | null> {
  const path = smiPath()
  const asked = path && await run(path, ['--query-compute-apps=pid,used_memory', '--format=csv,noheader,nounits'], 2000)
  return asked && asked.code === 0 ? parseVram(asked.stdout) : null
}

/** Measures processes again and again; CPU is what was used since the look before. */
export class UsageMeter {
  readonly #before = new Map<number, { time: number; cpuSeconds: number }>()

  /** Null: the process has gone. */
  async measure(pid: number, vram: Map<number, number> | null): Promise<WorkerUsage | null> {
    const now = performance.now()
    const seen = await sample(pid).catch(() => null)
    if (!seen) {
      this.#before.delete(pid)
      return null
    }
    const before = this.#before.get(pid)
    this.#before.set(pid, { time: now, cpuSeconds: seen.cpuSeconds })
    const share = before ? (seen.cpuSeconds - before.cpuSeconds) / ((now - before.time) / 1000) : 0
    const vramBytes = vram && seen.pids.reduce((sum, each) => sum + (vram.get(each) ?? 0), 0)
    return { cpu_percent: Math.max(0, Math.round(share * 100)), memory_bytes: seen.memory, vram_bytes: vramBytes }
  }

  forget(alive: readonly number[]): void {
    for (const pid of this.#before.keys()) if (!alive.includes(pid)) this.#before.delete(pid)
  }
}
