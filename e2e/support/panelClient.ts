import { WebSocket } from 'ws'
import type { Snapshot, StateEvent } from '../../schemas/panelLink.ts'

interface Reply {
  id?: number
  method?: string
  params?: unknown
  result?: unknown
  error?: { code: string; message: string; hint: string }
}

/** A panel without a browser: speaks the panel's protocol through ComfyUI's own origin, for tests of the bridge. */
export class PanelClient {
  #next = 1
  readonly events: StateEvent[] = []
  /** Packs whose node classes were exchanged, one entry for each time. */
  readonly exchanged: string[] = []
  readonly notices: { status: string; message: string; hint: string }[] = []
  readonly #waiting = new Map<number, (reply: Reply) => void>()
  readonly #socket: WebSocket

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: Buffer) => {
      const message = JSON.parse(data.toString()) as Reply
      if (message.method === 'state.changed') this.events.push(message.params as StateEvent)
      if (message.method === 'nodes.changed') this.exchanged.push((message.params as { pack: string }).pack)
      if (message.method === 'shim.status') this.notices.push(message.params as PanelClient['notices'][number])
      if (message.id !== undefined) this.#waiting.get(message.id)?.(message)
    })
  }

  /** Connects, again and again until the bridge answers. */
  static async connect(url: string, timeoutMs = 30_000): Promise<PanelClient> {
    const until = Date.now() + timeoutMs
    for (;;) {
      const socket = new WebSocket(`${url.replace('http', 'ws')}/api/envmanager/ws`, { origin: url })
      const opened = await new Promise<boolean>((done) => {
        socket.once('open', () => done(true))
        socket.once('error', () => done(false))
      })
      const client = new PanelClient(socket)
      if (opened && (await client.answers())) return client
      socket.terminate()
      if (Date.now() > until) throw new Error('the bridge did not answer')
      await new Promise((done) => setTimeout(done, 100))
    }
  }

  async answers(): Promise<boolean> {
    const late = new Promise<false>((done) => setTimeout(() => done(false), 1000))
    const gone = new Promise<false>((done) => this.#socket.once('close', () => done(false)))
    return Promise.race([this.call('state.snapshot', {}).then(() => true), late, gone])
  }

  /** Asks the bridge; rejects with its error's code and sentence. */
  call<T>(method: string, params: unknown): Promise<T> {
    const id = this.#next++
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        if (error) reject(new Error(`${error.code}: ${error.message} ${error.hint}`))
        else resolve(result as T)
      })
      this.#socket.send(JSON.stringify({ id, method, params }))
    })
  }

  snapshot(): Promise<Snapshot> {
    return this.call('state.snapshot', {})
  }

  /** Waits until the state is as wanted. */
  async until(wanted: (snapshot: Snapshot) => boolean, what: string, timeoutMs = 120_000): Promise<Snapshot> {
    const end = Date.now() + timeoutMs
    for (;;) {
      const snapshot = await this.snapshot()
      if (wanted(snapshot)) return snapshot
      if (Date.now() > end) throw new Error(`waited too long for ${what}: ${JSON.stringify(snapshot.packs.map(({ id, state, reason, isolation }) => ({ id, state, reason, isolation })))}`)
      await new Promise((done) => setTimeout(done, 50))
    }
  }

  /** Installs a pack and waits for the job's end. */
  async install(pack: string): Promise<Snapshot> {
    const { job } = await this.call<{ job: string }>('install.start', { pack })
    const ended = await this.until(({ jobs }) => jobs.some(({ id, state }) => id === job && state.status !== 'running'), `the job of ${pack}`, 300_000)
    const state = ended.jobs.find(({ id }) => id === job)?.state
    if (state?.status !== 'done') {
      const { lines } = await this.call<{ lines: { text: string }[] }>('log.read', { log: job, after: 0 })
      throw new Error(`${JSON.stringify(state)}\n${lines.map(({ text }) => text).join('\n')}`)
    }
    return this.until(({ packs }) => packs.find(({ id }) => id === pack)?.state === 'ready', `${pack} to be ready`)
  }

  close(): void {
    this.#socket.terminate()
  }
}
