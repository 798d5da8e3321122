import { execa, execaSync } from 'execa'

const WINDOWS = process.platform === 'win32'
/** A program that is to end has so long to do it in order. */
const GRACE_MS = 1000
/** Output that comes after the end is waited for this long: what left the group may hold the pipes open. */
const LAST_OUTPUT_MS = 500

/** Programs that run now. */
const running = new Set<number>()

/** Signals a program of ours that has not ended, or whose end we hear now, and all that it has started. */
function signalTree(pid: number, name: NodeJS.Signals): void {
  if (WINDOWS) return void execaSync('C:\\Windows\\System32\\taskkill.exe', ['/PID', String(pid), '/T', '/F'], { stdio: 'ignore', reject: false })
  try {
    process.kill(-pid, name)
  } catch {
    // no group is left
  }
}

function endAll(): void {
  for (const pid of running) signalTree(pid, 'SIGKILL')
  running.clear()
}

/** A terminal's Ctrl-C does not reach another group: where nobody here listens, the programs end first and then this process, as it would have. */
function onSignal(name: NodeJS.Signals): void {
  if (process.listenerCount(name) > 1) return
  endAll()
  process.off(name, onSignal)
  process.kill(process.pid, name)
}

let watched = false
function watchOwnEnd(): void {
  if (watched) return
  watched = true
  process.on('exit', endAll)
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal)
}

/** How a program ended. */
export interface Ended {
  /** Null where it could not be started or was ended by a signal, by us or by another. */
  code: number | null
  signal: string | null
  /** Whether we have ended it because its time was over. */
  isLate: boolean
  stdout: string
  stderr: string
}

interface Options {
  env?: Record<string, string>
  /** Whether `env` comes on top of our own. */
  extendEnv?: boolean
  cwd?: string
  signal?: AbortSignal
  timeoutMs?: number
  /** Whether the answer holds what it printed. */
  buffer?: boolean
  /** Whether it ends with us even where we are killed. Its file is known to be there. Not on Windows. */
  isBound?: boolean
}

/**
 * For `sh`, which becomes the program: a process of the program's group waits for our end of a pipe to close, as the kernel does however we end, and ends
 * the group. Nothing is ever written there. It is no child of the program, which may wait for all that it has, and no signal to the group ends it.
 */
const BOUND = `( (trap '' HUP INT TERM; read -r _; kill -9 0) <&3 >/dev/null 2>&1 3<&- & ) 3<&3; exec 3<&-; exec "$@"`

/** Variables that a shell may drop, having no names for it: for `env`, which sets them again. */
function unnameable({ env = {}, extendEnv = true }: Options): string[] {
  const all = Object.entries({ ...(extendEnv ? process.env : {}), ...env })
  return all.flatMap(([name, value]) => (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || value === undefined ? [] : [`${name}=${value}`]))
}

/** A program whose end is heard. */
class Hold {
  readonly #pid: number | undefined
  readonly #child: Child
  readonly #timers: NodeJS.Timeout[] = []
  /** Whether we have ended it, and whether for its time. */
  isStopped = false
  isLate = false

  constructor(child: Child) {
    this.#child = child
    this.#pid = child.pid
    if (child.pid === undefined) return
    running.add(child.pid)
    child.nodeChildProcess.once('exit', this.#exited)
  }

  readonly #exited = (): void => {
    const pid = this.#pid as number
    this.release()
    running.delete(pid)
    if (!WINDOWS) signalTree(pid, 'SIGKILL') // a pid there is free again
    this.#later(() => [this.#child.stdout, this.#child.stderr].forEach((pipe) => pipe.destroy()), LAST_OUTPUT_MS)
  }

  #later(what: () => void, ms: number): void {
    this.#timers.push(setTimeout(what, ms))
  }

  readonly stop = (): void => {
    const pid = this.#pid
    if (pid === undefined || this.isStopped || !running.has(pid)) return
    this.isStopped = true
    signalTree(pid, 'SIGTERM')
    this.#later(() => signalTree(pid, 'SIGKILL'), GRACE_MS)
  }

  stopAfter(ms: number): void {
    this.#later(() => {
      this.isLate = true
      this.stop()
    }, ms)
  }

  release(): void {
    this.#timers.forEach(clearTimeout)
  }
}

function start(file: string, args: string[], { isBound, ...options }: Omit<Options, 'signal' | 'timeoutMs'>) {
  const how = { ...options, reject: false, detached: !WINDOWS, cleanup: false } as const
  if (!isBound || WINDOWS) return execa(file, args, { ...how, stdio: ['ignore', 'pipe', 'pipe'] })
  const dropped = unnameable(options)
  const program = dropped.length > 0 ? ['/usr/bin/env', '--', ...dropped, file, ...args] : [file, ...args]
  return execa('/bin/sh', ['-c', BOUND, 'sh', ...program], { ...how, stdio: ['ignore', 'pipe', 'pipe', 'pipe'] })
}
type Child = ReturnType<typeof start>

/**
 * Starts a program, whose arguments no shell reads, with no input and in a group of its own. When `signal` says so, when its time is over and when this process
 * ends, it ends with all that it has started. Its own end is the end: what it leaves running ends too, and nobody waits for its pipes.
 */
export function startProgram(file: string, args: string[], { signal, timeoutMs, ...options }: Options): { child: Child; ended: Promise<Ended> } {
  watchOwnEnd() // before it starts: a signal that comes in between would end us alone
  const child = start(file, args, options)
  const held = new Hold(child)
  signal?.addEventListener('abort', held.stop, { once: true })
  if (signal?.aborted) held.stop()
  if (timeoutMs !== undefined) held.stopAfter(timeoutMs)
  const hear = async (): Promise<Ended> => {
    const { exitCode, signal: name, stdout, stderr } = await child
    held.release()
    signal?.removeEventListener('abort', held.stop)
    return { code: held.isStopped ? null : (exitCode ?? null), signal: name ?? null, isLate: held.isLate, stdout: stdout ?? '', stderr: stderr ?? '' }
  }
  return { child, ended: hear() }
}
