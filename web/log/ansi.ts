/** A piece of a log line in one look. `colour`: 0–7 and 8–15 (bright) of the terminal's palette. */
export interface Span {
  text: string
  colour: number | null
  bold: boolean
  italic: boolean
  underline: boolean
}

// ECMA-48: CSI … final byte; OSC, DCS, APC, PM, SOS … until BEL or ST; any other two-character escape
// oxlint-disable-next-line no-control-regex -- control characters are what this file is about
const ESCAPE = /\u001b\[([0-?]*)([ -/]*[@-~])|\u001b[\]PX^_][\s\S]*?(?:\u0007|\u001b\\|$)|\u001b[ -/]*[0-~]?|\u009b([0-?]*)([ -/]*[@-~])/g
// oxlint-disable-next-line no-control-regex -- the same
const CONTROL = /[\u0000-\u0008\u000b-\u001a\u001c-\u001f\u007f-\u009f]/g
/** Characters that turn text around or hide it (Unicode TR 36, bidirectional and invisible controls). */
const TRICKS = /[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g

// oxlint-disable-next-line no-control-regex -- the same
const SUSPECT = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/

/** Whether a text holds anything that is not simply shown. */
export const isSuspect = (text: string): boolean => SUSPECT.test(text)

const named = (character: string): string => `⟨U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}⟩`

/** Text with nothing in it that a browser would not show: it cannot pose as something else. */
export function visible(text: string): string {
  return text.replace(TRICKS, named).replace(CONTROL, (character) => {
    const code = character.charCodeAt(0)
    return code < 32 ? String.fromCharCode(0x2400 + code) : named(character)
  })
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
