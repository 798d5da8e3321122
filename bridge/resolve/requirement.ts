import { BridgeError } from '../errors/bridgeError'

/** A requirement as a pack writes it, taken apart by PEP 508. `marker` is left to uv. */
export interface Requirement {
  text: string
  /** Normalised by PEP 503: lower case, runs of `-_.` become `-`. */
  name: string
  extras: string[]
  specifier: string
  marker: string | null
  /** `name @ url`: where it comes from is not for a pack to say, so such lines are shown and not followed. */
  url: string | null
}

const NAME = '[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?'
const CLAUSE = String.raw`(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+`
const PATTERN = new RegExp(
  String.raw`^(${NAME})\s*(?:\[([A-Za-z0-9._,\s-]*)\])?\s*(?:\(?\s*(${CLAUSE}(?:\s*,\s*${CLAUSE})*)?\s*,?\s*\)?)\s*$`,
)

/** PEP 503. */
export function normalizeName(name: string): string {
  return name.toLowerCase().replace(/[-_.]+/g, '-')
}

/**
 * Parses one requirement. Options (`--index-url …`, `-e`, `-r`), paths and line breaks are refused: a requirement is a
 * name, never an argument of a program.
 */
export function parseRequirement(text: string): Requirement {
  const refuse = (why: string): never => {
    throw new BridgeError('BAD_REQUIREMENT', `The requirement \`${text.slice(0, 200)}\` ${why}.`)
  }
  if (/[\0\r\n]/.test(text)) refuse('holds a line break')
  const line = text.replace(/\s#.*$/, '').trim()
  if (line.startsWith('-')) refuse('is an option, which a node pack may not set')
  const at = /^([^@;\s]+)\s*@\s*(\S+)\s*(?:;(.*))?$/.exec(line)
  const [head, ...rest] = at ? [at[1] ?? '', at[3] ?? ''] : line.split(';')
  const match = PATTERN.exec((head ?? '').trim())
  if (!match) return refuse('is not a package name with a version')
  const marker = rest.join(';').trim()
  // outside its quotes a marker has names, brackets and comparisons only (PEP 508)
  if (!/^[a-z_.\s()<>=!~]*$/.test(marker.replace(/"[^"]*"|'[^']*'/g, ''))) return refuse('has a condition that is none')
  const [, name = '', extras = '', specifier = ''] = match
  return {
    text: line,
    name: normalizeName(name),
    extras: extras.split(',').map((extra) => extra.trim()).filter(Boolean),
    specifier: specifier.replace(/\s+/g, ''),
    marker: marker || null,
    url: at ? (at[2] ?? null) : null,
  }
}
