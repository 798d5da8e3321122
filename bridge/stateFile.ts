import { isDeepStrictEqual } from 'node:util'
import type { z } from 'zod'
import type { BridgeError } from './errors/bridgeError'
import { readText, unreadable, writeThrough } from './files'
import { withLock } from './osLock'

type Json = Record<string, unknown>
type Path = readonly PropertyKey[]

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** A value without what lies at some paths. */
function without(value: unknown, paths: Path[]): unknown {
  const copy = structuredClone(value)
  for (const path of paths) {
    const holder = path.slice(0, -1).reduce<unknown>((inside, key) => (inside as Json | undefined)?.[key as string], copy)
    if (isObject(holder)) delete holder[path.at(-1) as string]
  }
  return copy
}

/** What a schema knows of a value, and the paths of the keys that it does not know. Throws what else is wrong. */
export function parseKnown<T>(schema: z.ZodType<T, unknown>, value: unknown): { value: T; unknown: Path[] } {
  const parsed = schema.safeParse(value)
  if (parsed.success) return { value: parsed.data, unknown: [] }
  const unknown = parsed.error.issues.flatMap((issue) => (issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : []))
  return { value: schema.parse(without(value, unknown)), unknown }
}

/** `after` with what `raw` holds and `before`, the part of it that we know, does not. What `after` brings itself stays. */
function withUnknown(raw: unknown, before: unknown, after: unknown): unknown {
  if (Array.isArray(raw) && Array.isArray(before) && Array.isArray(after)) {
    return after.map((item) => raw[before.findIndex((known) => isDeepStrictEqual(known, item))] ?? item)
  }
  if (!isObject(raw) || !isObject(before) || !isObject(after)) return after
  const foreign = Object.entries(raw).filter(([key]) => !Object.hasOwn(before, key) && !Object.hasOwn(after, key))
  const own = Object.entries(after).map(([key, value]) => [key, withUnknown(raw[key], before[key], value)] as const)
  return Object.fromEntries([...own, ...foreign])
}

/** A state file as it was read. */
export interface Read<T> {
  value: T
  raw: Json
  /** What a user should hear of it: that a newer version wrote it. Null: nothing. */
  note: string | null
}

/** All our state files have it. */
interface Versioned {
  schema: number
}

/** What is at fault in a file's content, as FILE_UNREADABLE. */
function damaged(path: string, schema: unknown, known: number, cause: unknown): BridgeError {
  const newer = typeof schema === 'number' && schema > known
  const reason = newer ? `a newer version wrote it (format ${schema}; this one knows ${known})` : 'it is not what we wrote there'
  return unreadable(path, reason, { cause, damaged: !newer })
}

/**
 * A JSON file of ours; null: it is not there. Keys that we do not know and the number of a newer format are left out of the value and kept by `rewriteState`.
 * Throws FILE_UNREADABLE with the reason.
 */
export async function readState<T extends Versioned>(path: string, schema: z.ZodType<T, unknown>, known = 1): Promise<Read<T> | null> {
  const text = await readText(path)
  if (text === null) return null
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch (cause) {
    throw unreadable(path, text.trim() === '' ? 'it is empty' : 'it is not JSON, or only its beginning', { cause, damaged: true })
  }
  const version = isObject(raw) ? raw.schema : undefined
  if (!isObject(raw)) throw damaged(path, version, known, undefined)
  const isNewer = typeof version === 'number' && version > known
  try {
    const { value, unknown } = parseKnown(schema, isNewer ? { ...raw, schema: known } : raw)
    const strange = unknown.map((at) => at.join('.')).join(', ')
    const note = isNewer || strange ? `${path} was written by a newer version${strange ? `: ${strange} is kept and not used` : ''}.` : null
    return { value, raw, note }
  } catch (cause) {
    throw damaged(path, version, known, cause)
  }
}

/**
 * Reads, changes and writes a JSON file of ours, for who holds its lock. Nothing is written over what cannot be read. `from`: the file whose content takes its
 * place, with what we do not know of that one.
 */
export async function rewriteState<T extends Versioned>(path: string, schema: z.ZodType<T, unknown>, change: (before: T | null) => T, from: Read<T> | null = null): Promise<T> {
  const read = await readState(path, schema)
  const after = change(read?.value ?? null)
  const own = (from ? withUnknown(from.raw, from.value, after) : after) as Json
  const versions = [read?.raw.schema, from?.raw.schema].filter((version) => typeof version === 'number')
  const content = { ...(read ? (withUnknown(read.raw, read.value, own) as Json) : own), schema: Math.max(after.schema, ...versions) }
  await writeThrough(path, `${JSON.stringify(content, null, 2)}\n`)
  return after
}

/** The same under the file's lock: changes come one after the other, in this process and in all. */
export function updateState<T extends Versioned>(path: string, lock: string, schema: z.ZodType<T, unknown>, change: (before: T | null) => T): Promise<T> {
  return withLock(lock, {}, () => rewriteState(path, schema, change))
}
