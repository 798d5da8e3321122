import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hasEnded, LogFile, readLog } from './logFile'

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

test('its end is no line: readers and pages do not see it, and it is told from what anybody prints', async () => {
  const path = join(folder, 'job.ndjson')
  const log = new LogFile(path, () => undefined)
  for (let i = 1; i <= 2500; i++) log.append('{"ended":1}', 'phase')
  await log.close()
  expect(await hasEnded(path)).toBe(false)
  log.markEnd()
  for (let i = 1; i <= 2500; i++) log.append(`after ${i}`, 'phase')
  await log.close()
  expect([log.count, (await log.read(2500)).lines[0]?.text, (await readLog(path, 2500))[0]?.text]).toEqual([5000, 'after 1', 'after 1'])
  expect((await log.read(1999)).lines[0]?.seq).toBe(2000)
  const ended = new LogFile(join(folder, 'ended.ndjson'), () => undefined)
  ended.append('Done.', 'phase')
  ended.markEnd()
  await ended.close()
  expect(await hasEnded(join(folder, 'ended.ndjson'))).toBe(true)
})

test('a very long line is cut, and says so', () => {
  const texts: string[] = []
  new LogFile(join(folder, 'a.ndjson'), ({ text }) => texts.push(text)).append('x'.repeat(1_000_000), 'p')
  expect(texts[0]?.length).toBeLessThan(17_000)
  expect(texts[0]).toMatch(/\(cut\)$/)
})

test('a log has a largest size on disk: its end is kept, its numbers go on, and it says what is dropped', async () => {
  const log = new LogFile(join(folder, 'w.ndjson'), () => undefined, 1 << 20)
  for (let i = 1; i <= 20_000; i++) log.append(`line ${i} ${'x'.repeat(200)}`, 'p')
  await log.close()
  const sizes = ['w.ndjson', 'w.ndjson.1'].map((name) => readFileSync(join(folder, name)).length)
  expect(Math.max(...sizes)).toBeLessThan((1 << 20) + 1000)
  const seqs: number[] = []
  const texts: string[] = []
  let before: number | null = null
  for (let more = true; more; ) {
    const page = await log.readBefore(before)
    seqs.unshift(...page.lines.map(({ seq }) => seq))
    texts.unshift(...page.lines.map(({ text }) => text))
    before = seqs[0] ?? null
    more = page.more
  }
  expect(seqs).toEqual(Array.from({ length: log.count - (seqs[0] ?? 0) + 1 }, (_, i) => (seqs[0] ?? 0) + i))
  expect(texts.at(-1)).toMatch(/^line 20000 /)
  expect(texts.find((text) => text.includes('are dropped'))).toMatch(/^The lines before \d+ are dropped: a log keeps its last 1 MB\.$/)
  const forward = await log.read(0)
  expect(forward.lines[0]?.seq).toBe(seqs[0])
})

test('where no file can be made the lines are told all the same, and reading ends', async () => {
  writeFileSync(join(folder, 'file'), '')
  const texts: string[] = []
  const log = new LogFile(join(folder, 'file', 'a.ndjson'), ({ text }) => texts.push(text))
  for (let i = 1; i <= 3000; i++) log.append(`line ${i}`, 'p')
  expect(texts).toHaveLength(3000)
  expect(await log.read(0)).toEqual({ lines: [], more: false })
  expect((await log.read(2999)).lines.map(({ text }) => text)).toEqual(['line 3000'])
  await log.close()
})
