import { expect, test } from 'vitest'
import { isSuspect } from '../../schemas/shownText'
import { parseAnsi, plainText } from './ansi'
import { HOSTILE } from './hostile'
import { markSpans } from './marks'

const ESC = '\u001b'

test('colours and weight of a terminal', () => {
  expect(parseAnsi(`${ESC}[1;31merror${ESC}[0m: ${ESC}[94mblue${ESC}[39m`)).toMatchObject([
    { text: 'error', colour: 1, bold: true },
    { text: ': ', colour: null, bold: false },
    { text: 'blue', colour: 12 },
  ])
})

test('colours of bigger palettes do not shift what follows', () => {
  expect(parseAnsi(`${ESC}[38;2;1;2;3;1mx${ESC}[38;5;9my`)).toMatchObject([{ text: 'x', colour: null, bold: true }, { text: 'y', colour: 9 }])
})

test('a redrawn progress bar shows its last state', () => {
  expect(plainText('10 %\r50 %\r100 %\r')).toBe('100 %')
})

test('a search is marked over the borders of colours', () => {
  const marked = markSpans(parseAnsi(`a${ESC}[31mbc${ESC}[0md bcd`), 'BCD')
  expect(marked.map(({ text, mark }) => (mark ? `[${text}]` : text)).join('|')).toBe('a|[bc]|[d]| |[bcd]')
})

test.each(HOSTILE)('hostile line %#', (line, shown) => {
  expect(plainText(line)).toBe(shown)
  expect(parseAnsi(line).map(({ text }) => text).join('')).satisfy((text: string) => !isSuspect(text))
})

test('a line of ten megabytes is read in a moment', () => {
  const begin = performance.now()
  expect(plainText(`${ESC}[31m${'x'.repeat(10_000_000)}`)).toHaveLength(10_000_000)
  expect(performance.now() - begin).toBeLessThan(5000)
})
