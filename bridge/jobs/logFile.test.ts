import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LogFile, redactSecrets } from './logFile'

let folder: string
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'envmanager-log-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('lines are numbered without gaps, kept on disk, and read in pages from any place', async () => {
  const live: number[] = []
  const log = new LogFile(join(folder, 'job.ndjson'), ({ seq }) => live.push(seq))
  for (let i = 1; i <= 5000; i++) log.append(`line ${i}`, 'phase')
  await log.close()
  expect(live).toEqual(Array.from({ length: 5000 }, (_, i) => i + 1))
  const read: string[] = []
  for (let more = true; more; ) {
    const page = await log.read(read.length)
    read.push(...page.lines.map(({ text }) => text))
    more = page.more
  }
  expect(read).toEqual(Array.from({ length: 5000 }, (_, i) => `line ${i + 1}`))
  expect(readFileSync(join(folder, 'job.ndjson'), 'utf8').split('\n')).toHaveLength(5001)
})

test('a very long line is cut, and says so', () => {
  const texts: string[] = []
  new LogFile(join(folder, 'a.ndjson'), ({ text }) => texts.push(text)).append('x'.repeat(1_000_000), 'p')
  expect(texts[0]?.length).toBeLessThan(17_000)
  expect(texts[0]).toMatch(/\(cut\)$/)
})

test.each([
  ['https://user:secret@host/x', 'secret'],
  ['token=abcdef123456', 'abcdef123456'],
  ['Authorization: Bearer abcdef123456', 'abcdef123456'],
  ['HF_TOKEN hf_abcdefghijklmnop', 'abcdefghijklmnop'],
  ['ghp_0123456789abcdefghij', '0123456789abcdefghij'],
  ['{"api_key": "0123456789"}', '0123456789'],
])('%s is masked', (text, secret) => {
  expect(redactSecrets(text)).not.toContain(secret)
})
