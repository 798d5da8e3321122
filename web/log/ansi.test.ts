import { expect, test } from 'vitest'
import { isSuspect, parseAnsi, plainText } from './ansi'
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

/** What must come out as harmless text: no escape, no control, nothing that turns the line around. */
const hostile: [string, string][] = [
  ['<img src=x onerror=alert(1)>', '<img src=x onerror=alert(1)>'],
  ['<script>alert(1)</script>', '<script>alert(1)</script>'],
  ['{{ constructor.constructor("alert(1)")() }}', '{{ constructor.constructor("alert(1)")() }}'],
  [`${ESC}]8;;javascript:alert(1)${ESC}\\click${ESC}]8;;${ESC}\\`, 'click'],
  [`${ESC}]8;;https://evil.example\u0007click${ESC}]8;;\u0007`, 'click'],
  [`${ESC}]0;title\u0007x`, 'x'],
  [`${ESC}]52;c;ZXZpbA==\u0007x`, 'x'],
  [`${ESC}]unterminated`, ''],
  [`${ESC}P+q544e${ESC}\\x`, 'x'],
  [`${ESC}_Gf=100;AAAA${ESC}\\x`, 'x'],
  [`${ESC}[2J${ESC}[Hx`, 'x'],
  [`${ESC}[?1049hx`, 'x'],
  [`${ESC}[6nx`, 'x'],
  [`${ESC}cx`, 'x'],
  [`${ESC}(0x`, 'x'],
  [ESC, ''],
  [`a${ESC}`, 'a'],
  [`${ESC}[99999999999999mx`, 'x'],
  [`${ESC}[${'1;'.repeat(5000)}mx`, 'x'],
  ['\u009b31mx', 'x'],
  ['abc\u202egpj.exe', 'abc⟨U+202E⟩gpj.exe'],
  ['\u2066a\u2069', '⟨U+2066⟩a⟨U+2069⟩'],
  ['a\u200bb', 'a⟨U+200B⟩b'],
  ['\ufeffx', '⟨U+FEFF⟩x'],
  ['a\u0000b', 'a␀b'],
  ['a\u0008\u0008b', 'a␈␈b'],
  ['\u0007', '␇'],
  ['\u007f', '⟨U+007F⟩'],
  ['\u0085x', '⟨U+0085⟩x'],
  ['a\tb', 'a\tb'],
  ['日本語 emoji 👩‍🎨', '日本語 emoji 👩⟨U+200D⟩🎨'],
  ['e\u0301'.repeat(3), 'e\u0301'.repeat(3)],
  ['\ud800', '\ud800'],
  ['%s%n${jndi:ldap://x}', '%s%n${jndi:ldap://x}'],
  ['&lt;b&gt;', '&lt;b&gt;'],
  ['javascript:alert(1)', 'javascript:alert(1)'],
  ['"><svg onload=alert(1)>', '"><svg onload=alert(1)>'],
  ['__proto__', '__proto__'],
  ['\r\r\r', ''],
  ['real\rfake', 'fake'],
]
test.each(hostile)('hostile line %#', (line, shown) => {
  expect(plainText(line)).toBe(shown)
  expect(parseAnsi(line).map(({ text }) => text).join('')).satisfy((text: string) => !isSuspect(text))
})

test('a line of ten megabytes is read in a moment', () => {
  const begin = performance.now()
  expect(plainText(`${ESC}[31m${'x'.repeat(10_000_000)}`)).toHaveLength(10_000_000)
  expect(performance.now() - begin).toBeLessThan(5000)
})
