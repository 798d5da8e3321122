import { createReadStream, type WriteStream, createWriteStream, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { LogLine } from '../../schemas/job'
import { redactSecrets } from '../redact'

const LONGEST_LINE = 16_384
const PAGE = 2000
/** A byte position is kept for every so many lines, so that a page is read from its place and not from the start. */
const STRIDE = 1000

/**
 * A log on disk (NDJSON) that is followed live. Lines are numbered without gaps from 1; memory holds the last few, for readers
 * that are up to date.
 */
export class LogFile {
  #count = 0
  #bytes = 0
  #stream: WriteStream | null = null
  /** Where line 1, 1 + STRIDE, … starts on disk. */
  readonly #places: number[] = []
  readonly #recent: LogLine[] = []
  readonly #path: string
  readonly #onLine: (line: LogLine) => void

  constructor(path: string, onLine: (line: LogLine) => void) {
    this.#path = path
    this.#onLine = onLine
  }

  get count(): number {
    return this.#count
  }

  append(text: string, phase: string, level: LogLine['level'] = 'info'): void {
    if (!this.#stream) {
      mkdirSync(dirname(this.#path), { recursive: true })
      this.#stream = createWriteStream(this.#path, { flags: 'w', mode: 0o600 })
      this.#stream.on('error', () => undefined) // a full disk loses log lines, not the job
    }
    const masked = redactSecrets(text.length > LONGEST_LINE ? `${text.slice(0, LONGEST_LINE)} … (cut)` : text)
    const line: LogLine = { seq: ++this.#count, time: Date.now(), level, phase, text: masked }
    const written = Buffer.from(`${JSON.stringify(line)}\n`)
    if ((line.seq - 1) % STRIDE === 0) this.#places.push(this.#bytes)
    this.#bytes += written.length
    this.#stream.write(written)
    this.#recent.push(line)
    if (this.#recent.length > PAGE) this.#recent.shift()
    this.#onLine(line)
  }

  /** The last few lines' texts. */
  tail(count: number): string[] {
    return this.#recent.slice(-count).map(({ text }) => text)
  }

  /** Lines after number `after`, a page of them. */
  async read(after: number): Promise<{ lines: LogLine[]; more: boolean }> {
    const lines = await this.#page(after, PAGE)
    return { lines, more: (lines.at(-1)?.seq ?? after) < this.#count }
  }

  /** The page of lines before number `before`; null: the last page. */
  async readBefore(before: number | null): Promise<{ lines: LogLine[]; more: boolean }> {
    const end = before ?? this.#count + 1
    const after = Math.max(0, end - 1 - PAGE)
    const lines = (await this.#page(after, end - 1 - after)).filter(({ seq }) => seq < end)
    return { lines, more: after > 0 }
  }

  async #page(after: number, count: number): Promise<LogLine[]> {
    const first = this.#recent[0]
    if (first && after >= first.seq - 1) return this.#recent.filter(({ seq }) => seq > after).slice(0, count)
    return readLog(this.#path, after, count, this.#places[Math.floor(after / STRIDE)] ?? 0)
  }

  /** Settles when everything is on disk. */
  close(): Promise<void> {
    const stream = this.#stream
    return stream ? new Promise((resolve) => stream.end(resolve)) : Promise.resolve()
  }
}

/** A page of a log file's lines after number `after`, read from byte `from` on; a half-written last line is left out. */
export async function readLog(path: string, after: number, count = PAGE, from = 0): Promise<LogLine[]> {
  const found: LogLine[] = []
  const file = createReadStream(path, { start: from })
  file.on('error', () => undefined)
  try {
    for await (const text of createInterface({ input: file })) {
      const line = parseLine(text)
      if (line && line.seq > after) found.push(line)
      if (found.length >= count) break
    }
  } catch {
    return found
  } finally {
    file.destroy()
  }
  return found
}

function parseLine(text: string): LogLine | null {
  try {
    return LogLine.parse(JSON.parse(text))
  } catch {
    return null
  }
}
