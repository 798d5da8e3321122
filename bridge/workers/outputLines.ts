import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'

/** A line is told when it has so many characters, whether it ends or not; what follows up to its end is dropped. */
const LONGEST = 65_536

/** Tells each line that a program prints. One without an end takes no more memory than a long one. */
export function readLines(stream: Readable, onLine: (text: string) => void): void {
  const decoder = new StringDecoder('utf8')
  let held = ''
  let cutting = false
  const take = (text: string): void => {
    const parts = text.split(/\r?\n/)
    for (const [index, part] of parts.entries()) {
      const ends = index < parts.length - 1
      if (!cutting) held += part.slice(0, LONGEST + 1 - held.length)
      if (!ends && held.length <= LONGEST) continue
      if (!cutting && (ends || held.length > LONGEST)) onLine(held.length > LONGEST ? `${held.slice(0, LONGEST)} … (cut)` : held)
      cutting = !ends
      held = ''
    }
  }
  stream.on('data', (chunk: Buffer) => take(decoder.write(chunk)))
  stream.on('end', () => void (held !== '' && !cutting && onLine(held)))
}
