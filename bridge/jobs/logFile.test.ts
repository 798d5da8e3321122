import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LogFile } from './logFile'

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

test('the end is read first, and then backwards to the start, without a gap', async () => {
  const log = new LogFile(join(folder, 'job.ndjson'), () => undefined)
  for (let i = 1; i <= 7001; i++) log.append(`line ${i}`, 'phase')
  await log.close()
  const pages: number[][] = []
  let before: number | null = null
  for (let more = true; more; ) {
    const page = await log.readBefore(before)
    pages.unshift(page.lines.map(({ seq }) => seq))
    before = pages[0]?.[0] ?? null
    more = page.more
  }
  expect(pages.flat()).toEqual(Array.from({ length: 7001 }, (_, i) => i + 1))
})

test('a very long line is cut, and says so', () => {
  const texts: string[] = []
  new LogFile(join(folder, 'a.ndjson'), ({ text }) => texts.push(text)).append('x'.repeat(1_000_000), 'p')
  expect(texts[0]?.length).toBeLessThan(17_000)
  expect(texts[0]).toMatch(/\(cut\)$/)
})
