import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, readdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { BridgeError } from '../errors/bridgeError'
import { asDiskError } from '../files'

const POLL_MS = 50

/**
 * When a process started, by the kernel's clock: with its id that names it for good, since ids are used again. Null: it is gone.
 * Where the kernel does not say, `0` stands for any living process of that id.
 */
function startOf(pid: number): string | null {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) return null
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // proc(5): state is field 3, starttime field 22
    return fields[0] === 'Z' ? null : (fields[19] ?? '0')
  } catch {
    return '0'
  }
}

let last = 0

/** A ticket's name sorts by the time it was drawn; two of one process in the same millisecond keep their order. */
function ticketName(): string {
  last = Math.max(Date.now(), last + 1)
  return `${String(last).padStart(15, '0')}-${process.pid}-${startOf(process.pid)}-${randomBytes(3).toString('hex')}`
}

/** Tickets of living processes, first come first; what the dead left is removed. */
async function waiting(folder: string): Promise<string[]> {
  const tickets = await readdir(folder).catch(() => [] as string[])
  const kept: string[] = []
  for (const ticket of tickets.sort()) {
    const [, pid, started] = ticket.split('-')
    if (startOf(Number(pid)) === started) kept.push(ticket)
    else await rm(join(folder, ticket), { force: true })
  }
  return kept
}

/**
 * Runs `work` when it is its turn for a place on disk, across processes and in the order of asking. A ticket names its process,
 * so a killed one does not hold the others up. `onWait` hears how many are before us.
 */
export async function withTurn<T>(place: string, signal: AbortSignal, work: () => Promise<T>, onWait?: (before: number) => void): Promise<T> {
  const folder = `${place}.turns`
  const ticket = ticketName()
  try {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, ticket), '')
  } catch (error) {
    throw asDiskError(error)
  }
  try {
    for (let told = -1; ; ) {
      const before = (await waiting(folder)).indexOf(ticket)
      if (before <= 0) break
      if (before !== told) onWait?.(before)
      told = before
      await delay(POLL_MS, undefined, { signal }).catch(() => {
        throw new BridgeError('CANCELLED', 'Cancelled.')
      })
    }
    return await work()
  } finally {
    await rm(join(folder, ticket), { force: true })
    await rmdir(folder).catch(() => undefined) // not empty: others wait
  }
}

/** Whether a living process works at a place or waits for it. */
export async function isTaken(place: string): Promise<boolean> {
  return (await waiting(`${place}.turns`)).length > 0
}
