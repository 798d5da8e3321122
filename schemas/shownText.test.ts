import { expect, test } from 'vitest'
import { isSuspect, jsonText, terminalText } from './shownText'

const ESC = '\u001b'

test.each([
  ['a title, a clipboard and a cleared screen', `${ESC}]0;OWNED\u0007${ESC}]52;c;ZXZpbA==${ESC}\\${ESC}[2J${ESC}[1;32mall good${ESC}[0m`, 'all good'],
  ['a sequence without an end takes nothing with it', `x${ESC}]52;c;ZXZpbA== ok  the reason`, 'x␛]52;c;ZXZpbA== ok  the reason'],
  ['nor over a line', `x${ESC}]0;a\nb\u0007c`, 'x␛]0;a\nb␇c'],
  ['C1 sequences', 'a\u009d52;c;x\u009cb \u009b2Jc', 'a⟨U+009D⟩52;c;x⟨U+009C⟩b c'],
  ['a line that is drawn over', 'real\rfake\r\n', 'real␍fake\n'],
  ['backspaces and a bell', 'a\b\bc\u0007\u007f', 'a␈␈c␇⟨U+007F⟩'],
  ['text that is turned around', 'abc\u202egpj.exe \u2066x\u2069 \u061cy', 'abc⟨U+202E⟩gpj.exe ⟨U+2066⟩x⟨U+2069⟩ ⟨U+061C⟩y'],
  ['what hides, or parts lines', 'a\u200bb\u2060c\u2028d\u{e0041}e\u00adf', 'a⟨U+200B⟩b⟨U+2060⟩c⟨U+2028⟩d⟨U+E0041⟩e⟨U+00AD⟩f'],
  ['plain text, tabs and any script', 'a\tb\n日本語 العربية emoji 👩 e\u0301', 'a\tb\n日本語 العربية emoji 👩 e\u0301'],
])('a terminal gets of %s only what is text', (_, text, shown) => {
  expect(terminalText(text)).toBe(shown)
  expect(isSuspect(terminalText(text))).toBe(false)
})

test('JSON says exactly the same with nothing raw in it', () => {
  const value = { [`k\u202e${ESC}`]: ['\u009b2J\u007f\u0000', `${ESC}]52;c;x\u0007`, '\u{e0041}👩\ud800', 'plain "text" \\u202e'] }
  const text = jsonText(value)
  expect(isSuspect(text)).toBe(false)
  expect(JSON.parse(text)).toEqual(value)
})

test('a text of megabytes is cleaned in a moment', () => {
  const begin = performance.now()
  for (const part of [`${ESC}[31m`, `${ESC}]0;`, `${ESC}[${';'.repeat(500)}`]) terminalText(part.repeat(200_000 / part.length))
  expect(performance.now() - begin).toBeLessThan(5000)
})
