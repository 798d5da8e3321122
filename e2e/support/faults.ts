import { appendFileSync, readFileSync } from 'node:fs'
import type { WorkerInfo } from '../../schemas/worker.ts'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { bridgesOf, type Comfy, type Connection, startComfy } from './comfy.ts'
import { PanelClient } from './panelClient.ts'
import { until } from './processes.ts'
import { queue, type Prompt } from './prompts.ts'

/** How often the cases are repeated that must hold every time. */
export const TIMES = Number(process.env.TIMES ?? 20)

/** Tells the figure of a case to `npm run faults`. */
export function figure(number: number, text: string): void {
  const file = process.env.FAULT_FIGURES
  if (file) appendFileSync(file, `${JSON.stringify({ number, text })}\n`)
}

/** The value below which a share of the values lies. */
export const quantile = (values: number[], share: number): number => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.ceil(share * values.length) - 1)] ?? 0

/** A ComfyUI with one pack isolated, and a panel that looks. */
export class Subject {
  private constructor(
    readonly comfy: Comfy,
    public panel: PanelClient,
    readonly pack: string,
  ) {}

  static async start(pack: string, env: Record<string, string> = {}, others: string[] = []): Promise<Subject> {
    const comfy = await startComfy({ frontend: FRONTENDS[0], packs: [pack, ...others], env })
    const panel = await PanelClient.connect(comfy.url)
    await panel.until(({ packs }) => packs.some(({ id, state }) => id === pack && state === 'ready'), pack)
    await panel.call('isolation.set', { pack, on: true })
    return new Subject(comfy, panel, pack)
  }

  async worker(): Promise<WorkerInfo> {
    const found = (await this.panel.snapshot()).workers.find(({ packs }) => packs.includes(this.pack))
    if (!found) throw new Error('no worker')
    return found
  }

  async lines(): Promise<string[]> {
    const { lines } = await this.panel.call<{ lines: { text: string }[] }>('log.read', { log: `${this.pack}#1`, before: null })
    return lines.map(({ text }) => text)
  }

  /** Queues a prompt and waits until its node has said something new that begins so. Returns the prompt and the worker's process. */
  async running(prompt: Prompt, said: string): Promise<{ prompt: string; pid: number; line: string }> {
    const count = async (): Promise<number> => (await this.lines()).filter((text) => text.startsWith(said)).length
    const before = await count()
    const id = await queue(this.comfy.url, prompt)
    await until(`the node to say ${said}`, async () => (await count()) > before)
    const { pid } = await this.worker()
    const line = (await this.lines()).findLast((text) => text.startsWith(said)) ?? ''
    return { prompt: id, pid: pid ?? 0, line }
  }

  /** Forgives crashes. */
  async forgive(): Promise<void> {
    await this.panel.call('worker.stop', { worker: `${this.pack}#1` })
  }

  /** Port and token of the bridge. */
  connection(): Connection {
    const [found] = bridgesOf(this.comfy.home, this.comfy.process.pid)
    if (!found) throw new Error('no bridge')
    return found
  }

  async end(signal: NodeJS.Signals = 'SIGINT'): Promise<void> {
    this.panel.close()
    await this.comfy.stop(signal)
    this.comfy.remove()
  }
}

/** A prompt of one node of the fault-maker, its text shown. */
export const fault = (cls: string, inputs: Record<string, unknown>): Prompt => ({
  '2': { class_type: cls, inputs },
  '3': { class_type: 'PreviewAny', inputs: { source: ['2', 0] } },
})

/** Resident memory of a process, bytes. */
export const residentOf = (pid: number): number => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
