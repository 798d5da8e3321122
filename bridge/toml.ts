import { parse, TomlError } from 'smol-toml'
import type { z } from 'zod'
import { BridgeError } from './errors/bridgeError'

/** Parses TOML; an error names file, line and column. */
export function parseToml(text: string, path: string): Record<string, unknown> {
  try {
    return parse(text)
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause
    const what = cause.message.split('\n')[0]?.replace(/^Invalid TOML document: /, '') ?? 'not TOML'
    throw new BridgeError('CONFIG_SYNTAX', `${path}:${cause.line}:${cause.column}: ${what}.`, {
      details: { file: path, line: cause.line, column: cause.column },
      cause,
    })
  }
}

const HEADER = /^\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}/
const KEY = /^\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=/

const parts = (dotted: string): string[] => [...dotted.matchAll(/"([^"]*)"|'([^']*)'|([\w-]+)/g)].map(([, a, b, c]) => a ?? b ?? c ?? '')

const startsWith = (whole: string[], start: string[]): boolean => start.every((part, index) => whole[index] === part)

/**
 * Line and column (from 1) where a key is set, or else its nearest parent that is; null if none is found. Reads lines, not
 * TOML: enough to send a reader to the place.
 */
export function locate(text: string, path: readonly PropertyKey[]): { line: number; column: number } | null {
  const wanted = path.map(String)
  let section: string[] = []
  let best: { line: number; column: number; depth: number } | null = null
  for (const [index, line] of text.split('\n').entries()) {
    const header = HEADER.exec(line)?.[1]
    if (header) section = parts(header)
    const key = header ? section : [...section, ...parts(KEY.exec(line)?.[1] ?? '')]
    const isSet = header !== undefined || KEY.test(line)
    if (!isSet || key.length === 0 || !startsWith(wanted, key) || (best && best.depth >= key.length)) continue
    best = { line: index + 1, column: line.length - line.trimStart().length + 1, depth: key.length }
  }
  return best && { line: best.line, column: best.column }
}

/** The first thing that a schema finds wrong in a TOML file, as CONFIG_INVALID with its place and key. */
export function configError(error: z.ZodError, text: string, path: string, hint?: string): BridgeError {
  const [issue] = error.issues
  const where = issue?.path.join('.') || 'the file'
  const at = locate(text, issue?.path ?? [])
  const place = at ? `${path}:${at.line}:${at.column}` : path
  return new BridgeError('CONFIG_INVALID', `${place}: ${where}: ${issue?.message ?? 'wrong value'}.`, {
    details: { file: path, key: where, line: at?.line ?? null, column: at?.column ?? null },
    ...(hint !== undefined && { hint }),
  })
}
