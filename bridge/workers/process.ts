import { type ChildProcess, spawn } from 'node:child_process'
import { dirname, delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import type { Readable, Writable } from 'node:stream'
import type { WorkerExit } from '../../schemas/worker'
import { FrameReader } from '../rpc/frames'
import { readLines } from './outputLines'

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

const DROPPED = /^(PYTHON\w*|VIRTUAL_ENV|CONDA_\w+|PIP_\w+|UV_\w+)$/

/**
 * The allocator settings keep glibc from giving big buffers back to the system and faulting them in again at the next call, and
 * idle OpenMP threads from spinning against ComfyUI on few cores.
 */
function environment(python: string, own: Readonly<Record<string, string>>): Record<string, string> {
  const given = [...Object.entries(process.env), ...Object.entries(own)].filter(([name, value]) => value !== undefined && !DROPPED.test(name))
  return {
    ...(Object.fromEntries(given) as Record<string, string>),
    PATH: `${dirname(python)}${delimiter}${process.env.PATH ?? ''}`,
    ENVMANAGER_PARENT: String(process.pid),
    COMFYUI_ISOLATION_WORKER: '1',
    PYTHONNOUSERSITE: '1',
    PYTHONUTF8: '1',
    PIP_REQUIRE_VIRTUALENV: '1',
    OMP_WAIT_POLICY: 'PASSIVE',
    MALLOC_MMAP_THRESHOLD_: '8589934592',
    MALLOC_TRIM_THRESHOLD_: '17179869184',
    MALLOC_TOP_PAD_: '67108864',
    // copies of this size and more are written past the caches: what is copied is read by another process
    GLIBC_TUNABLES: 'glibc.cpu.x86_non_temporal_threshold=4194304',
  }
}

/** Output that comes after the exit is waited for this long: a grandchild may hold the pipe open. */
const LAST_OUTPUT_MS = 100

/** A worker's process: the only place that starts one. */
export class WorkerProcess {
  readonly #child: ChildProcess
  readonly #tasks: Writable | null

  /** `variables`: what the pack asks for in its environment; ours go before them. */
  constructor(python: string, shim: string, variables: Readonly<Record<string, string>>, events: ProcessEvents) {
    this.#child = spawn(python, ['-X', 'faulthandler', join(shim, 'worker')], {
      // lines, lines, what is printed; tasks, and their answers
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
      env: environment(python, variables),
      // a group of its own, so that what a node starts can be ended with it
      detached: process.platform !== 'win32',
      windowsHide: true,
    })
    const { stdin, stdout, stderr } = this.#child
    stdin?.on('error', () => undefined) // a dead worker: its exit tells
    this.#tasks = this.#child.stdio[3] as Writable | null
    this.#tasks?.on('error', () => undefined)
    this.#hearAnswers(this.#child.stdio[4] as Readable | null, events)
    if (stdout) createInterface({ input: stdout }).on('line', events.onMessage)
    if (stderr) readLines(stderr, events.onOutput)
    let told = false
    const tell = (code: number | null, signal: string | null): void => {
      if (told) return
      told = true
      events.onExit({ code, signal })
    }
    this.#child.once('error', (error) => {
      events.onOutput(`The process could not be started: ${error.message}`)
      tell(null, null)
    })
    this.#child.once('exit', (code, signal) => {
      this.#killGroup() // what it has started goes with it, and lets go of its output
      void setTimeout(LAST_OUTPUT_MS).then(() => tell(code, signal))
    })
    this.#child.once('close', tell)
  }

  get pid(): number | null {
    return this.#child.pid ?? null
  }

  #hearAnswers(stream: Readable | null, events: ProcessEvents): void {
    const reader = new FrameReader(events.onAnswer)
    stream?.on('error', () => undefined)
    stream?.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk)
      } catch (error) {
        events.onOutput(`The worker is ended: ${(error as Error).message}.`)
        this.kill()
      }
    })
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
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill(name)
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
