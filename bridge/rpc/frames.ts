/** Frames of the call path, as `python_shim/wire/frames.py` describes them: two lengths, a header and a body. */

const LARGEST_HEADER = 1 << 20
const LARGEST_BODY = 256 << 20
const SIZES = 8
const NOTHING = Buffer.alloc(0)

/** One frame. `body` is passed on as it came. */
export function frame(header: unknown, body: Buffer = NOTHING): Buffer {
  const head = Buffer.from(JSON.stringify(header))
  const sizes = Buffer.allocUnsafe(SIZES)
  sizes.writeUInt32BE(head.length, 0)
  sizes.writeUInt32BE(body.length, 4)
  return Buffer.concat([sizes, head, body])
}

/** Takes bytes as they come and gives whole frames. */
export class FrameReader {
  #waiting: Buffer[] = []
  #have = 0
  #need = SIZES

  constructor(private readonly onFrame: (header: string, body: Buffer) => void) {}

  /** Throws when the other end does not keep to the protocol: nothing after that can be read. */
  push(chunk: Buffer): void {
    this.#waiting.push(chunk)
    this.#have += chunk.length
    if (this.#have < this.#need) return
    let data = this.#waiting.length === 1 ? chunk : Buffer.concat(this.#waiting)
    this.#need = SIZES
    while (data.length >= SIZES) {
      const head = data.readUInt32BE(0)
      const body = data.readUInt32BE(4)
      if (head > LARGEST_HEADER || body > LARGEST_BODY) throw new Error('a frame is larger than the protocol allows')
      const end = SIZES + head + body
      if (data.length < end) {
        this.#need = end
        break
      }
      this.onFrame(data.toString('utf8', SIZES, SIZES + head), data.subarray(SIZES + head, end))
      data = data.subarray(end)
    }
    this.#waiting = data.length > 0 ? [data] : []
    this.#have = data.length
  }
}
