import { PassThrough } from 'node:stream'
import { expect, test, vi } from 'vitest'
import { readLines, readMessages } from './outputLines'

/** The lines that come of these chunks. */
async function linesOf(chunks: (string | Buffer)[]): Promise<string[]> {
  const stream = new PassThrough()
  const lines: string[] = []
  readLines(stream, (text) => lines.push(text))
  for (const chunk of chunks) stream.write(chunk)
  stream.end()
  await new Promise((done) => stream.on('end', done))
  return lines
}

test('lines however they are cut, empty ones and the last one without an end', async () => {
  expect(await linesOf(['a', 'b\nc\r\n', '\nd'])).toEqual(['ab', 'c', '', 'd'])
})

test('a letter that is cut in two', async () => {
  const text = Buffer.from('ü\n')
  expect(await linesOf([text.subarray(0, 1), text.subarray(1)])).toEqual(['ü'])
})

test('a line without an end is told once, cut, and what follows it is whole again', async () => {
  const lines = await linesOf([...Array.from({ length: 100 }, () => 'x'.repeat(10_000)), '\nnext\n'])
  expect(lines).toHaveLength(2)
  expect(lines[0]).toMatch(/^x{65536} … \(cut\)$/)
  expect(lines[1]).toBe('next')
})

const kept = (lines: string[]): number => lines.reduce((sum, line) => sum + line.length, 0)

test('of a flood the beginning, the end and how much is left out; what comes a second later is whole', async () => {
  vi.useFakeTimers()
  const stream = new PassThrough({ highWaterMark: 1 << 30 })
  const lines: string[] = []
  readLines(stream, (text) => lines.push(text))
  const chunk = `${'y'.repeat(1023)}\n`.repeat(64)
  for (let i = 0; i < 800; i++) stream.write(chunk) // 50 MB
  stream.write('why it died\n')
  await vi.advanceTimersByTimeAsync(1000)
  expect(kept(lines)).toBeLessThan(3 << 20)
  expect(lines.at(-1)).toBe('why it died')
  expect(lines.filter((line) => line.includes('left out'))).toEqual([expect.stringMatching(/^… 5\d{7} bytes are left out/)])
  stream.write('later\n')
  await vi.advanceTimersByTimeAsync(1)
  expect(lines.at(-1)).toBe('later')
  stream.end()
  vi.useRealTimers()
})

test('of millions of empty lines only some are told', async () => {
  const lines = await linesOf(Array.from({ length: 100 }, () => '\n'.repeat(10_000)))
  expect(lines.length).toBeLessThan(60_000)
  expect(lines.some((line) => line.includes('left out'))).toBe(true)
})

test('what is left out when a process is ended by force is told', async () => {
  const stream = new PassThrough({ highWaterMark: 1 << 30 })
  const lines: string[] = []
  readLines(stream, (text) => lines.push(text))
  for (let i = 0; i < 300; i++) stream.write(`${'z'.repeat(20_000)}\n`)
  stream.write('the last words')
  await new Promise((done) => setImmediate(done))
  stream.destroy()
  await new Promise((done) => stream.once('close', done))
  expect(lines.at(-2)).toMatch(/left out|^z/)
  expect(lines.join('')).toContain('left out')
})

test('messages come whole however they are cut, and one without an end is told as that', async () => {
  const stream = new PassThrough()
  const messages: string[] = []
  let tooLong = 0
  readMessages(stream, (text) => messages.push(text), () => tooLong++, 1000)
  for (const chunk of ['{"a', '":1}\n{"b":', '2}\n', Buffer.from('"ü').subarray(0, 2), Buffer.from('ü').subarray(1), '\u2028"\n', 'x'.repeat(600), 'x'.repeat(600), '\nlate\n', 'y'.repeat(5000)]) stream.write(chunk)
  await new Promise((done) => setImmediate(done))
  expect(messages).toEqual(['{"a":1}', '{"b":2}', '"ü\u2028"'])
  expect(tooLong).toBe(1)
  stream.destroy()
})
