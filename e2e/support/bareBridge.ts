import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'
import type { Snapshot } from '../../schemas/panelLink.ts'
import { PYTHON, ROOT } from '../../scripts/devPython.ts'

interface Reply {
  id?: number
  result?: unknown
  error?: { code: string; message: string }
}

/** A bridge without a ComfyUI beside it, and a panel of it. */
export class BareBridge {
  #next = 1
  readonly #waiting = new Map<number, (reply: Reply) => void>()
  /** Settles with its exit code, or the signal that ended it. */
  readonly ended: Promise<string>
  #stderr = ''

  private constructor(
    readonly process: ChildProcess,
    readonly socket: WebSocket,
  ) {
    this.ended = once(process, 'exit').then(([code, signal]) => String(signal ?? code))
    process.stderr?.on('data', (data: Buffer) => (this.#stderr += data.toString()))
    socket.on('error', () => undefined)
    socket.on('message', (data: Buffer) => {
      const reply = JSON.parse(data.toString()) as Reply
      if (reply.id !== undefined) this.#waiting.get(reply.id)?.(reply)
    })
    socket.on('close', () => this.#waiting.forEach((settle) => settle({ error: { code: 'LOST', message: 'the connection was lost' } })))
  }

  /** Throws what it printed if it does not start. */
  static async start(args: string[], env: Record<string, string> = {}): Promise<BareBridge> {
    const child = spawn(process.execPath, [join(ROOT, 'bridge', 'dist', 'comfy-env.mjs'), 'serve', '--json', ...args], {
      env: { ...process.env, COMFY_ENV_INTERPRETER: PYTHON, COMFY_ENV_REGISTRY: 'off', ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const [first] = (await Promise.race([once(createInterface({ input: child.stdout }), 'line'), once(child, 'exit').then(() => ['{}'])])) as [string]
    const { run, error } = JSON.parse(first) as { run?: string; error?: { message: string } }
    if (run === undefined) throw new Error(error?.message ?? 'the bridge did not start')
    const { port, token } = JSON.parse(readFileSync(join(run, 'bridge.json'), 'utf8')) as { port: number; token: string }
    const socket = new WebSocket(`ws://127.0.0.1:${port}/panel`, { headers: { authorization: `Bearer ${token}` } })
    const bridge = new BareBridge(child, socket)
    await Promise.race([once(socket, 'open'), bridge.ended])
    return bridge
  }

  /** What it has said on standard error. */
  get stderr(): string {
    return this.#stderr
  }

  /** Asks it; an error's code, or LOST if it has ended meanwhile. */
  call(method: string, params: unknown = {}): Promise<{ result: unknown; code: string | null; message: string }> {
    const id = this.#next++
    return new Promise((resolve) => {
      const settle = ({ result, error }: Reply): void => {
        this.#waiting.delete(id)
        resolve({ result, code: error?.code ?? null, message: error?.message ?? '' })
      }
      this.#waiting.set(id, settle)
      if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ id, method, params }))
      else settle({ error: { code: 'LOST', message: 'no connection' } })
    })
  }

  async snapshot(): Promise<Snapshot | null> {
    return ((await this.call('state.snapshot')).result as Snapshot | undefined) ?? null
  }

  /** Ends it with a signal, and waits until it is gone. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<string> {
    this.process.kill(signal)
    const how = await this.ended
    this.socket.terminate()
    return how
  }
}
