import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'

/** A line is told when it has so many characters, whether it ends or not; what follows up to its end is dropped. */
const LONGEST = 65_536
/** So much in a second is told, in bytes and in lines. Who prints more keeps the bridge from its calls, and fills the disk. */
const MOST_BYTES = 2 << 20
const MOST_LINES = 10_000
/** Of what is left out, the end is told: it may say why a process died. */
const LAST = 32_768
const SECOND_MS = 1000

/** Cuts text into lines. One without an end takes no more memory than a long one. */
class LineCutter {
  #held = ''
  #cutting = false
  /** Lines that were told. */
  count = 0

  constructor(private readonly onLine: (text: string) => void) {}

  take(text: string): void {
    const parts = text.split(/\r?\n/)
    for (const [index, part] of parts.entries()) {
      const ends = index < parts.length - 1
      if (!this.#cutting) this.#held += part.slice(0, LONGEST + 1 - this.#held.length)
      const isLong = this.#held.length > LONGEST
      if (!ends && !isLong) continue
      if (!this.#cutting) this.#tell(isLong ? `${this.#held.slice(0, LONGEST)} … (cut)` : this.#held)
      this.#cutting = !ends
      this.#held = ''
    }
  }

  #tell(line: string): void {
    this.count++
    this.onLine(line)
  }

  /** What is held is a line too; what follows begins another. */
  end(): void {
    if (this.#held !== '' && !this.#cutting) this.#tell(this.#held)
    this.#held = ''
    this.#cutting = false
  }
}

/** Tells each line that a program prints; of a flood its beginning and its end, and how much is left out. */
export function readLines(stream: Readable, onLine: (text: string) => void): void {
  const decoder = new StringDecoder('utf8')
  const cutter = new LineCutter(onLine)
  let taken = 0
  let leftOut = 0
  let last = Buffer.alloc(0)
  let second: NodeJS.Timeout | null = null
  const endSecond = (): void => {
    if (second) clearTimeout(second)
    second = null
    taken = 0
    cutter.count = 0
    if (leftOut === 0) return
    cutter.end()
    if (leftOut > last.length) onLine(`… ${leftOut - last.length} bytes are left out: more than ${MOST_BYTES >> 20} MB or ${MOST_LINES} lines were printed in a second …`)
    leftOut = 0
    cutter.take(last.toString())
    last = Buffer.alloc(0)
  }
  stream.on('data', (chunk: Buffer) => {
    second ??= setTimeout(endSecond, SECOND_MS).unref()
    if (taken < MOST_BYTES && cutter.count < MOST_LINES) {
      taken += chunk.length
      cutter.take(decoder.write(chunk))
      return
    }
    leftOut += chunk.length
    last = Buffer.concat([last, chunk]).subarray(-LAST)
  })
  stream.on('end', () => {
    endSecond()
    cutter.end()
  })
  // a process that is ended by force closes without an end
  stream.on('close', endSecond)
}

/** No message that a worker sends is longer: ComfyUI takes no longer one either. */
const LONGEST_MESSAGE = 256 << 20

/** Tells each line of what a worker says to us. One that is too long is told to `onTooLong`, and nothing after it is told. */
export function readMessages(stream: Readable, onMessage: (text: string) => void, onTooLong: () => void, longest = LONGEST_MESSAGE): void {
  const decoder = new StringDecoder('utf8')
  let held: string[] = []
  let length = 0
  const take = (chunk: Buffer): void => {
    const [first = '', ...others] = decoder.write(chunk).split('\n')
    held.push(first)
    length += first.length
    for (const other of others) {
      onMessage(held.join(''))
      held = [other]
      length = other.length
    }
    if (length <= longest) return
    stream.off('data', take)
    stream.resume()
    held = []
    onTooLong()
  }
  stream.on('data', take)
}
