import { createReadStream, type WriteStream, createWriteStream, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { LogLine } from '../../schemas/job'

const LONGEST_LINE = 16_384
const PAGE = 2000

/** Secrets that must not reach a log: credentials in addresses, and tokens by their known shapes. */
const SECRETS: [RegExp, string][] = [
  [/(\/\/)[^/\s:@]+:[^/\s@]+@/g, '$1***@'],
  [/\b(hf_|ghp_|gho_|github_pat_|sk-|AKIA)[A-Za-z0-9_-]{8,}/g, '$1***'],
  [/\b(token|authorization|api[_-]?key|password)(["']?\s*[=:]\s*["']?)(?:Bearer\s+)?[^\s"'&]+/gi, '$1$2***'],
]

export function redactSecrets(text: string): string {
  return SECRETS.reduce((masked, [pattern, by]) => masked.replace(pattern, by), text)
}

/**
 * A log on disk (NDJSON) that is followed live. Lines are numbered without gaps from 1; memory holds the last few, for readers
 * that are up to date.
 */
export class LogFile {
  #count = 0
  #stream: WriteStream | null = null
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
    this.#stream.write(`${JSON.stringify(line)}\n`)
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
    const first = this.#recent[0]
    const fromMemory = first ? after >= first.seq - 1 : this.#count > 0 || after > 0
    const lines = fromMemory ? this.#recent.filter(({ seq }) => seq > after) : await readLog(this.#path, after)
    return { lines, more: (lines.at(-1)?.seq ?? after) < this.#count }
  }

  /** Settles when everything is on disk. */
  close(): Promise<void> {
    const stream = this.#stream
    return stream ? new Promise((resolve) => stream.end(resolve)) : Promise.resolve()
  }
}

/** A page of a log file's lines after number `after`; a half-written last line is left out. */
export async function readLog(path: string, after: number): Promise<LogLine[]> {
  const found: LogLine[] = []
  const file = createReadStream(path)
  file.on('error', () => undefined)
  try {
    for await (const text of createInterface({ input: file })) {
      const line = parseLine(text)
      if (line && line.seq > after) found.push(line)
      if (found.length >= PAGE) break
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
