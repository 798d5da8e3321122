import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { readLines } from './outputLines'

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
