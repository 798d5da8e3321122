/** Which characters of a text that others chose may be shown as they are: one rule for the panel, logs and terminals. */

// ECMA-48: CSI … final byte; OSC, DCS, APC, PM, SOS … until BEL or ST; any other two-character escape
// oxlint-disable-next-line no-control-regex -- control characters are what this file is about
export const ESCAPE = /\u001b\[([0-?]*)([ -/]*[@-~])|\u001b[\]PX^_][\s\S]*?(?:\u0007|\u001b\\|$)|\u001b[ -/]*[0-~]?|\u009b([0-?]*)([ -/]*[@-~])/g
// oxlint-disable-next-line no-control-regex -- the same
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g
/** Characters that turn text around, hide it or part its lines (Unicode TR 36: bidirectional, invisible, deprecated and tag characters). */
const TRICKS = /[\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu

// oxlint-disable-next-line no-control-regex -- the same
const SUSPECT = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/u

/** Whether a text holds anything that is not simply shown. Newlines and tabs are. */
export const isSuspect = (text: string): boolean => SUSPECT.test(text)

const named = (character: string): string => `⟨U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}⟩`

/** Text with nothing in it that would not be shown: it cannot pose as something else. */
export function visible(text: string): string {
  return text.replace(TRICKS, named).replace(CONTROL, (character) => {
    const code = character.charCodeAt(0)
    return code < 32 ? String.fromCharCode(0x2400 + code) : named(character)
  })
}

/** A sequence that waits for its end would take the rest of the line with it. */
// oxlint-disable-next-line no-control-regex -- the same
const isOpen = (sequence: string): boolean => /^\u001b[\]PX^_]/.test(sequence) && !/(\u0007|\u001b\\)$/.test(sequence)

/** Text for a terminal or a pipe: colours, links, titles and movements are dropped, everything else that is not simply shown is named. */
export function terminalText(text: string): string {
  if (!isSuspect(text)) return text
  const line = (one: string): string => visible(one.replace(/\r+$/, '').replace(ESCAPE, (sequence) => (isOpen(sequence) ? sequence : '')))
  return text.split('\n').map(line).join('\n')
}

const ALL_SUSPECTS = new RegExp(SUSPECT.source, 'gu')

/** JSON with every such character as an escape: its text is what it was, and no terminal obeys it. */
export function jsonText(value: unknown): string {
  const escaped = (character: string): string => [...Array(character.length).keys()].map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`).join('')
  return JSON.stringify(value).replace(ALL_SUSPECTS, escaped)
}

/** TOML whose strings are all in double quotes, the same way. */
export const tomlText = (toml: string): string =>
  toml.replace(ALL_SUSPECTS, (character) => {
    const code = (character.codePointAt(0) ?? 0).toString(16)
    return code.length > 4 ? `\\U${code.padStart(8, '0')}` : `\\u${code.padStart(4, '0')}`
  })
