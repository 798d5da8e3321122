import { afterEach, expect, test, vi } from 'vitest'
import { isSuspect } from '../../schemas/shownText'
import { BridgeError } from '../errors/bridgeError'
import { makeOutput, reportError, table } from './output'

const EVIL = '\u001b]52;c;ZXZpbA==\u0007\u001b[2J\u202e'
afterEach(() => vi.restoreAllMocks())

/** What a command writes, standard output and error together. */
function written(act: () => void): string {
  const parts: string[] = []
  for (const stream of [process.stdout, process.stderr]) vi.spyOn(stream, 'write').mockImplementation((text) => Boolean(parts.push(String(text))))
  act()
  return parts.join('')
}

test.each([
  ['an answer', () => makeOutput(false).result({}, () => `name ${EVIL}`)],
  ['progress', () => makeOutput(false).note(`name ${EVIL}`)],
  ['progress beside JSON', () => makeOutput(true).note(`name ${EVIL}`)],
  ['JSON', () => makeOutput(true).result({ name: EVIL }, () => '')],
  ['JSON lines', () => makeOutput(false).objects([{ name: EVIL }])],
  ['an error and its hint', () => void reportError(new BridgeError('BAD_USAGE', `name ${EVIL}`, { hint: EVIL }), makeOutput(false))],
  ['an error as JSON', () => void reportError(new BridgeError('BAD_USAGE', `name ${EVIL}`), makeOutput(true))],
  ['a fault of ours, with its stack', () => void reportError(new Error(`name ${EVIL}`), makeOutput(false))],
])('%s has nothing in it that a terminal obeys', (_, act) => {
  const text = written(act)
  expect(text).toContain('name')
  expect(isSuspect(text)).toBe(false)
})

test('a cell is one line and as wide as it is shown', () => {
  expect(table([['evil\nok  other', 'a'], [EVIL, 'b']])).toBe('evil␊ok  other  a\n⟨U+202E⟩        b')
})
