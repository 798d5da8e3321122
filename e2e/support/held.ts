import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** What a process holds of the system. */
export interface Held {
  sockets: number
  /** Shared memory: descriptors of it, and what of it is mapped. */
  segments: number
  mapped: number
  /** Every other descriptor. */
  others: number
  threads: number
  /** MiB that are its own: not files, not shared. */
  memory: number
}

/** By Linux' `/proc`; all 0 if the process has gone. */
export function heldBy(pid: number): Held {
  const held: Held = { sockets: 0, segments: 0, mapped: 0, others: 0, threads: 0, memory: 0 }
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const target = targetOf(`/proc/${pid}/fd/${fd}`)
      if (target.startsWith('socket:')) held.sockets++
      else if (target.startsWith('/memfd:')) held.segments++
      else if (target !== '') held.others++
    }
    held.mapped = readFileSync(`/proc/${pid}/maps`, 'utf8').split('/memfd:').length - 1
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0)
    return { ...held, threads: of('Threads'), memory: Math.round(of('RssAnon') / 1024) }
  } catch {
    return held
  }
}

/** Empty for a descriptor that was closed meanwhile. */
function targetOf(link: string): string {
  try {
    return readlinkSync(link)
  } catch {
    return ''
  }
}

/** Every process below one, and itself. */
export function processesBelow(pid: number): number[] {
  const found = [pid]
  try {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean)
      found.push(...children.flatMap((child) => processesBelow(Number(child))))
    }
  } catch {
    // it has just ended
  }
  return found
}
