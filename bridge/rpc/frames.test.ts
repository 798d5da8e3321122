import { expect, test } from 'vitest'
import { frame, FrameReader } from './frames'

const frames = Array.from({ length: 20 }, (_, n) => ({ header: { id: n, text: 'ü'.repeat(n) }, body: Buffer.from('b'.repeat(n * 7)) }))

test.each([1, 3, 64, 100_000])('frames arrive whole, %d bytes at a time', (step) => {
  const data = Buffer.concat(frames.map(({ header, body }) => frame(header, body)))
  const found: unknown[] = []
  const reader = new FrameReader((header, body) => found.push({ header: JSON.parse(header), body: Buffer.from(body) }))
  for (let at = 0; at < data.length; at += step) reader.push(data.subarray(at, at + step))
  expect(found).toEqual(frames)
})

test.each([
  ['a header', [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]],
  ['a body', [0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff]],
])('%s that is larger than may be ends the link', (_, bytes) => {
  expect(() => new FrameReader(() => undefined).push(Buffer.from(bytes))).toThrow(/larger/)
})
