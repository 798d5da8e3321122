import { ESCAPE, isSuspect, visible } from '../../schemas/shownText'

/** A piece of a log line in one look. `colour`: 0–7 and 8–15 (bright) of the terminal's palette. */
export interface Span {
  text: string
  colour: number | null
  bold: boolean
  italic: boolean
  underline: boolean
}

interface Look {
  colour: number | null
  bold: boolean
  italic: boolean
  underline: boolean
}
const PLAIN: Look = { colour: null, bold: false, italic: false, underline: false }

/** One or more SGR parameters (ECMA-48 8.3.117; 38;5 and 38;2 as xterm has them). Other palettes' colours are left out: they may be unreadable here. */
function apply(look: Look, parameters: string): Look {
  const codes = (parameters || '0').split(/[;:]/).map(Number)
  let now = look
  for (let at = 0; at < codes.length; at++) {
    const code = codes[at] ?? 0
    if (code === 0) now = PLAIN
    else if (code === 1) now = { ...now, bold: true }
    else if (code === 3) now = { ...now, italic: true }
    else if (code === 4) now = { ...now, underline: true }
    else if (code === 22) now = { ...now, bold: false }
    else if (code === 23) now = { ...now, italic: false }
    else if (code === 24) now = { ...now, underline: false }
    else if (code >= 30 && code <= 37) now = { ...now, colour: code - 30 }
    else if (code === 39) now = { ...now, colour: null }
    else if (code >= 90 && code <= 97) now = { ...now, colour: code - 82 }
    else if (code === 38 || code === 48) {
      const indexed = codes[at + 1] === 5
      const colour = codes[at + 2] ?? 16
      if (indexed && code === 38) now = { ...now, colour: colour < 16 ? colour : null }
      at += indexed ? 2 : 4
    }
  }
  return now
}

/** A line as pieces of text. Links, titles and cursor movements of a terminal are dropped, their text stays. */
export function parseAnsi(line: string): Span[] {
  // a progress bar redraws its line: what a terminal would show is what came last
  const shown = line.replace(/\r+$/, '').split('\r').at(-1) ?? ''
  const spans: Span[] = []
  let look = PLAIN
  let at = 0
  const push = (text: string): void => {
    if (text !== '') spans.push({ text: visible(text), ...look })
  }
  for (const match of shown.matchAll(ESCAPE)) {
    push(shown.slice(at, match.index))
    at = match.index + match[0].length
    const final = match[2] ?? match[4]
    if (final === 'm') look = apply(look, match[1] ?? match[3] ?? '')
  }
  push(shown.slice(at))
  return spans
}

/** The line without any look: what is searched, copied and saved. */
export const plainText = (line: string): string => (isSuspect(line) ? parseAnsi(line).map(({ text }) => text).join('') : line)
