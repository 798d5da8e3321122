import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import type { WorkerExit } from '../../schemas/worker'
import { endMarked } from '../marked'
import { quietly } from '../quietly'
import { FrameReader } from '../rpc/frames'
import { type Launch, PROCESS_MARK } from './launch'
import { readLines, readMessages } from './outputLines'

export interface ProcessEvents {
  /** A line of what is told beside the tasks. */
  onMessage: (text: string) => void
  /** The answer to a task. */
  onAnswer: (header: string, body: Buffer) => void
  /** A line that the pack, a library or native code printed. */
  onOutput: (text: string) => void
  /** Once, whatever the reason. */
  onExit: (exit: Omit<WorkerExit, 'lines'>) => void
}

/** Output that comes after the exit is waited for this long: a grandchild may hold the pipe open. */
const LAST_OUTPUT_MS = 100

/** Bubblewrap ends with 128 and the number of the signal that its program was ended by, as a shell does. */
function unwrapped(code: number): Omit<WorkerExit, 'lines'> {
  const signal = Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0]
  return signal === undefined ? { code, signal: null } : { code: null, signal }
}

/** The first child of a process; null if there is none. Linux. */
function firstBelow(pid: number | null): number | null {
  if (pid === null) return null
  try {
    return Number.parseInt(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'), 10) || null
  } catch {
    return null
  }
}

/** Whether it has ended and nobody has asked how yet. Linux (`man 5 proc_pid_stat`: the state follows the name in brackets). */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat[stat.lastIndexOf(')') + 2] === 'Z'
  } catch {
    return false
  }
}

/** A worker's process: the only place that starts one. */
export class WorkerProcess {
  readonly #child: ChildProcess
  readonly #tasks: Writable | null
  /** Settles when `onExit` has heard. */
  readonly gone: Promise<void>

  constructor(
    private readonly launch: Launch,
    events: ProcessEvents,
  ) {
    this.#child = spawn(launch.command, launch.args, {
      // lines, lines, what is printed; tasks, and their answers
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
      env: launch.env,
      // a group of its own, so that what a node starts can be ended with it
      detached: process.platform !== 'win32',
      windowsHide: true,
    })
    const { stdin, stdout, stderr } = this.#child
    stdin?.on('error', () => undefined) // a dead worker: its exit tells
    this.#tasks = this.#child.stdio[3] as Writable | null
    this.#tasks?.on('error', () => undefined)
    this.#hearAnswers(this.#child.stdio[4] as Readable | null, events)
    if (stdout) readMessages(stdout, events.onMessage, () => this.#refuse('a message of it has no end', events))
    if (stderr) readLines(stderr, events.onOutput)
    let told = false
    let settle = (): void => undefined
    this.gone = new Promise((done) => (settle = done))
    const tell = (code: number | null, signal: string | null): void => {
      if (told) return
      told = true
      events.onExit(launch.sandboxed && code !== null ? unwrapped(code) : { code, signal })
      settle()
    }
    this.#child.once('error', (error) => {
      events.onOutput(`The process could not be started: ${error.message}`)
      tell(null, null)
    })
    this.#child.once('exit', (code, signal) => {
      this.#killGroup() // what it has started goes with it, and lets go of its output
      const mark = launch.env[PROCESS_MARK]
      if (mark) quietly('what does not end now ends with the computer', endMarked(PROCESS_MARK, mark)) // what has left the group too
      setTimeout(() => tell(code, signal), LAST_OUTPUT_MS)
    })
    this.#child.once('close', tell)
  }

  get pid(): number | null {
    return this.#child.pid ?? null
  }

  /** Whether it has ended, also before `onExit` hears of it. */
  get ended(): boolean {
    const { pid, exitCode, signalCode } = this.#child
    return pid === undefined || exitCode !== null || signalCode !== null || isZombie(pid)
  }

  #hearAnswers(stream: Readable | null, events: ProcessEvents): void {
    const reader = new FrameReader(events.onAnswer)
    stream?.on('error', () => undefined)
    stream?.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk)
      } catch (error) {
        this.#refuse((error as Error).message, events)
      }
    })
  }

  #refuse(why: string, events: ProcessEvents): void {
    events.onOutput(`The worker is ended: ${why}.`)
    this.kill()
  }

  /** Hands a task to the main thread, which does one after the other. */
  give(frame: Buffer): void {
    this.#tasks?.write(frame)
  }

  /** No more tasks: the worker ends when it has done those that it has. */
  endTasks(): void {
    this.#tasks?.end()
  }

  send(text: string): void {
    this.#child.stdin?.write(`${text}\n`)
  }

  signal(name: NodeJS.Signals): void {
    const { pid, exitCode, signalCode } = this.#child
    if (!pid || exitCode !== null || signalCode !== null) return
    if (!this.launch.sandboxed || name === 'SIGKILL') return void this.#child.kill(name)
    const worker = firstBelow(firstBelow(pid)) // bubblewrap, its first process inside, the worker
    if (worker !== null) process.kill(worker, name)
  }

  /** Ends the process and everything that it has started. */
  kill(): void {
    this.signal('SIGKILL')
    this.#killGroup()
  }

  #killGroup(): void {
    if (!this.#child.pid || process.platform === 'win32') return
    try {
      process.kill(-this.#child.pid, 'SIGKILL')
    } catch {
      // no group is left
    }
  }
}
