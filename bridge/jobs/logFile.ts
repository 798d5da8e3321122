import { createReadStream, type WriteStream, createWriteStream, fstatSync, mkdirSync, openSync, renameSync, rmSync, statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { LogLine } from '../../schemas/job'
import { refuseNoFile } from '../files'
import { redactSecrets } from '../redact'

const LONGEST_LINE = 16_384
const PAGE = 2000
/** A byte position is kept for every so many lines, so that a page is read from its place and not from the start. */
const STRIDE = 1000
/** A file that has grown so large is put aside for a new one, in place of the one before: a log takes twice as much at most. */
const LARGEST = 32 << 20
/** A disk that does not take what is written loses lines, so that memory does not hold them. */
const MOST_WAITING = 16 << 20
const RETRY_MS = 5000

/** One of a log's files. */
interface Part {
  path: string
  /** Number of its first line. */
  first: number
  bytes: number
  /** Where every STRIDE-th line starts in it, from its first on. */
  places: number[]
}

/**
 * A log on disk (NDJSON) that is followed live. Lines are numbered without gaps from 1; memory holds the last few, for readers
 * that are up to date. Of a very long log the beginning is dropped.
 */
export class LogFile {
  #count = 0
  #stream: WriteStream | null = null
  /** Whether the file is of this log, and not of one before it. */
  #began = false
  /** After a failure the disk is left alone until then. */
  #retryAt = 0
  /** The file before this one; null: there is none. */
  #older: Part | null = null
  #part: Part
  readonly #recent: LogLine[] = []

  constructor(
    private readonly path: string,
    private readonly onLine: (line: LogLine) => void,
    private readonly largest = LARGEST,
  ) {
    this.#part = { path, first: 1, bytes: 0, places: [] }
  }

  get count(): number {
    return this.#count
  }

  append(text: string, phase: string, level: LogLine['level'] = 'info'): void {
    if (this.#stream && this.#part.bytes > this.largest) this.#startAnew()
    const masked = redactSecrets(text.length > LONGEST_LINE ? `${text.slice(0, LONGEST_LINE)} … (cut)` : text)
    const line: LogLine = { seq: ++this.#count, time: Date.now(), level, phase, text: masked }
    this.#write(line)
    this.#recent.push(line)
    if (this.#recent.length > PAGE) this.#recent.shift()
    this.onLine(line)
  }

  /** The file that lines go to; null where it cannot be had now: a full disk loses log lines, not the job. */
  #open(): WriteStream | null {
    const now = Date.now()
    if (this.#stream || now < this.#retryAt) return this.#stream
    try {
      mkdirSync(dirname(this.path), { recursive: true })
      if (!this.#began) rmSync(`${this.path}.1`, { force: true })
      this.#stream = this.#newStream(this.#began ? 'a' : 'w')
    } catch {
      this.#retryAt = now + RETRY_MS
    }
    return this.#stream
  }

  /** Opened at once: it may be put aside before a first line is written. */
  #newStream(flags: 'w' | 'a'): WriteStream {
    refuseNoFile(this.path, statSync(this.path, { throwIfNoEntry: false }))
    const fd = openSync(this.path, flags, 0o600)
    this.#began = true
    this.#part.bytes = fstatSync(fd).size
    const stream = createWriteStream(this.path, { fd })
    if (this.#part.bytes > 0) {
      stream.write('\n') // a full disk may have taken half a line
      this.#part.bytes++
    }
    stream.on('error', () => {
      if (this.#stream !== stream) return
      this.#stream = null
      this.#retryAt = Date.now() + RETRY_MS
    })
    return stream
  }

  #startAnew(): void {
    const dropped = this.#older
    const older = { ...this.#part, path: `${this.path}.1` }
    try {
      renameSync(this.path, older.path)
      this.#stream?.end()
      this.#stream = null
      this.#older = older
      this.#part = { path: this.path, first: this.#count + 1, bytes: 0, places: [] }
      this.#stream = this.#newStream('w')
    } catch {
      this.#retryAt = Date.now() + RETRY_MS
      return
    }
    if (dropped) this.append(`The lines before ${older.first} are dropped: a log keeps its last ${this.largest >> 20} MB.`, 'log', 'warn')
  }

  #write(line: LogLine): void {
    const stream = this.#open()
    if (!stream || stream.writableLength > MOST_WAITING) return
    const { first, bytes, places } = this.#part
    const written = Buffer.from(`${JSON.stringify(line)}\n`)
    if ((line.seq - first) % STRIDE === 0) places[(line.seq - first) / STRIDE] = bytes
    this.#part.bytes += written.length
    stream.write(written)
  }

  /** Writes down that what it is of has ended. No line has this form, whatever somebody prints, and readers of lines leave it out. */
  markEnd(): void {
    const written = Buffer.from(`${JSON.stringify({ ended: Date.now() })}\n`)
    const stream = this.#open()
    this.#part.bytes += stream ? written.length : 0
    stream?.write(written)
  }

  /** The last few lines' texts. */
  tail(count: number): string[] {
    return this.#recent.slice(-count).map(({ text }) => text)
  }

  /** Lines after number `after`, a page of them. */
  async read(after: number): Promise<{ lines: LogLine[]; more: boolean }> {
    const lines = await this.#page(after, PAGE)
    return { lines, more: (lines.at(-1)?.seq ?? this.#count) < this.#count }
  }

  /** The page of lines before number `before`; null: the last page. */
  async readBefore(before: number | null): Promise<{ lines: LogLine[]; more: boolean }> {
    const end = before ?? this.#count + 1
    const after = Math.max(0, end - 1 - PAGE)
    const lines = (await this.#page(after, end - 1 - after)).filter(({ seq }) => seq < end)
    return { lines, more: after > 0 && after + 1 > (this.#older ?? this.#part).first }
  }

  async #page(after: number, count: number): Promise<LogLine[]> {
    const first = this.#recent[0]
    if (first && after >= first.seq - 1) return this.#recent.filter(({ seq }) => seq > after).slice(0, count)
    const found: LogLine[] = []
    const parts = this.#older && after + 1 < this.#part.first ? [this.#older, this.#part] : [this.#part]
    for (const { path, first: start, places } of parts) {
      if (found.length < count) found.push(...(await readLog(path, after, count - found.length, places[Math.floor((after + 1 - start) / STRIDE)] ?? 0)))
    }
    return found
  }

  /** Settles when everything is on disk. */
  close(): Promise<void> {
    const stream = this.#stream
    this.#stream = null // a line that comes all the same opens it again
    return stream ? new Promise((resolve) => stream.end(resolve)) : Promise.resolve()
  }
}

/** What may follow a log's end: a sentence of what could not be done after it. */
const TAIL = 128 << 10

/** Whether a log says that what it is of has ended. */
export async function hasEnded(path: string): Promise<boolean> {
  const size = await stat(path).then((found) => (found.isFile() ? found.size : 0), () => 0)
  if (size === 0) return false
  let text = ''
  const file = createReadStream(path, { start: Math.max(0, size - TAIL), encoding: 'utf8' })
  try {
    for await (const part of file) text += part
  } catch {
    return false
  }
  return text.split('\n').some((line) => /^\{"ended":\d+\}$/.test(line))
}

/** A page of a log file's lines after number `after`, read from byte `from` on; a half-written last line is left out. */
export async function readLog(path: string, after: number, count = PAGE, from = 0): Promise<LogLine[]> {
  const found: LogLine[] = []
  if (!(await stat(path).then((there) => there.isFile(), () => false))) return found
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
