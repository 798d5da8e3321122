import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

/** Whether a process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    if (process.platform !== 'linux') return true
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z'
  } catch {
    return false
  }
}

/** Milliseconds until the condition holds; throws after the limit. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, limitMs = 30_000): Promise<number> {
  const start = Date.now()
  while (!(await condition())) {
    if (Date.now() - start > limitMs) throw new Error(`waited ${limitMs} ms for ${what}`)
    await pause(5)
  }
  return Date.now() - start
}

/** Names in /dev/shm; none where there is no such folder. */
export function sharedMemory(): string[] {
  try {
    return readdirSync('/dev/shm').sort()
  } catch {
    return []
  }
}
