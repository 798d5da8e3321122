import { isSuspect, visible } from '../../schemas/shownText'

/** What is sent back to the bridge stays as it is: names of packs, which a component shows by `shown`, and ids of ours, which hold nothing odd. */
const NAMES = new Set(['id', 'pack', 'packs', 'keep_warm'])

/**
 * The same state with every text in it shown as what it is: packs and wheels choose their names, and may choose characters that
 * turn the text around them.
 */
export function harmless<T>(value: T): T {
  if (typeof value === 'string') return (isSuspect(value) ? value.replace(/[^\n\t]+/g, visible) : value) as T
  if (Array.isArray(value)) return value.map(harmless) as T
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, NAMES.has(key) && !isList(item) ? item : harmless(item)])) as T
}

/** A list of objects is no name, whatever its key is. */
const isList = (value: unknown): boolean => typeof value === 'object' && value !== null && (!Array.isArray(value) || value.some((item) => typeof item === 'object'))

/** A pack's name for the eye, in one line: a folder may be called anything. */
export function shown(name: string): string {
  // oxlint-disable-next-line no-control-regex -- these it is for
  const line = name.replace(/[\u0000-\u001f]/g, (character) => String.fromCharCode(0x2400 + character.charCodeAt(0)))
  const text = isSuspect(line) ? visible(line) : line
  return text.replace(/\p{Surrogate}/gu, (half) => `⟨U+${half.charCodeAt(0).toString(16).toUpperCase()}⟩`)
}
