import { createWriteStream, mkdirSync, renameSync, statSync, type WriteStream } from 'node:fs'
import { dirname, join } from 'node:path'
import type { StateEvent } from '../../schemas/panelLink'
import { refuseNoFile } from '../files'
import { redactSecrets } from '../redact'

/** What joins an entry with others: the panel and its request, a job, a worker and its process, a call and the prompt and node it is for. */
export interface Ids {
  panel?: number
  request?: number
  method?: string
  job?: string
  pack?: string
  env?: string
  worker?: string
  pid?: number
  call?: string
  prompt?: string
  node?: string
  class?: string
  status?: string
  code?: string
  message?: string
  ms?: number
}

/** A file that has grown larger than this is put aside, in place of the one before. */
const LARGEST = 4_000_000
const KEPT = 200
/** A call that takes longer is written down; one that fails always is. */
const SLOW_MS = 1000

export const journalPath = (home: string): string => join(home, 'logs', 'bridge.ndjson')

/** Null where nothing can be written: then entries are kept for the report only. */
function open(path: string): WriteStream | null {
  try {
    mkdirSync(dirname(path), { recursive: true })
    const found = statSync(path, { throwIfNoEntry: false })
    refuseNoFile(path, found)
    if ((found?.size ?? 0) > LARGEST) renameSync(path, path.replace(/\.ndjson$/, '.1.ndjson'))
  } catch {
    return null
  }
  const stream = createWriteStream(path, { flags: 'a', mode: 0o600 })
  stream.on('error', () => undefined) // a full disk loses entries, and nothing else
  return stream
}

/**
 * What the bridge did, one JSON object a line (`logs/bridge.ndjson`): requests of panels, jobs, workers, calls that failed or took long. The logs
 * of jobs and workers lie beside it, by the ids that it names.
 */
export class Journal {
  readonly #path: string
  #stream: WriteStream | null = null
  /** What it has written since its file was last looked at. */
  #bytes = 0
  readonly #recent: string[] = []
  readonly #known = new Map<string, string>()

  /** `bridge`: the name of its run folder. Bridges that serve the same home write into the same file. */
  constructor(
    home: string,
    private readonly bridge: string,
  ) {
    this.#path = journalPath(home)
  }

  write(event: string, ids: Ids = {}): void {
    const { message } = ids
    const line = JSON.stringify({ time: new Date().toISOString(), bridge: this.bridge, event, ...ids, ...(message !== undefined && { message: redactSecrets(message) }) })
    this.#recent.push(line)
    if (this.#recent.length > KEPT) this.#recent.shift()
    if (this.#bytes > LARGEST) this.#startAnew()
    this.#stream ??= open(this.#path)
    this.#bytes += line.length
    this.#stream?.write(`${line}\n`)
  }

  #startAnew(): void {
    this.#stream?.end()
    this.#stream = null
    this.#bytes = 0
  }

  /** Jobs and workers, whenever one comes to another status. A worker's short turns between ready and busy are its calls. */
  changed(change: StateEvent): void {
    if (change.kind === 'job') {
      const { id, pack, env, state } = change.job
      const error = state.status === 'failed' ? { code: state.error.code, message: state.error.message } : {}
      this.#once(id, state.status, () => this.write('job', { job: id, pack, env, status: state.status, ...error }))
    } else if (change.kind === 'worker') {
      const { id, state, pid, packs } = change.worker
      const status = state.status === 'busy' ? 'ready' : state.status
      const exit = state.status === 'crashed' ? { code: state.exit.signal ?? String(state.exit.code) } : {}
      this.#once(id, status, () => this.write('worker', { worker: id, pack: packs.join(','), ...(pid !== null && { pid }), status, ...exit }))
    }
  }

  #once(id: string, status: string, write: () => void): void {
    if (this.#known.get(id) === status) return
    this.#known.set(id, status)
    write()
  }

  /** A call that has ended. */
  called(ids: Required<Pick<Ids, 'call' | 'node' | 'class' | 'pack' | 'ms'>> & Ids): void {
    if (ids.code !== undefined || ids.ms >= SLOW_MS) this.write('call', { ...ids, ms: Math.round(ids.ms) })
  }

  /** The last entries, for the report. */
  tail(count: number): string[] {
    return this.#recent.slice(-count)
  }

  /** Settles when everything is on disk. */
  close(): Promise<void> {
    const stream = this.#stream
    return stream ? new Promise((resolve) => stream.end(resolve)) : Promise.resolve()
  }
}
