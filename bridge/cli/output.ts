import { CATALOGUE } from '../errors/catalogue'
import { toWire } from '../errors/bridgeError'

/** Where a command writes: with --json one object on stdout and nothing else, human text on stderr. */
export interface Output {
  json: boolean
  /** The command's answer. */
  result: (value: unknown, human: () => string) => void
  /** Progress and notes. */
  note: (text: string) => void
}

export function makeOutput(json: boolean): Output {
  return {
    json,
    result: (value, human) => process.stdout.write(json ? `${JSON.stringify(value)}\n` : `${human()}\n`),
    note: (text) => process.stderr.write(`${text}\n`),
  }
}

/** Prints an error as the command line's contract says and returns the exit code. */
export function reportError(thrown: unknown, output: Output): number {
  const error = toWire(thrown)
  if (output.json) process.stdout.write(`${JSON.stringify({ error: { ...error, details: error.details ?? {} } })}\n`)
  else process.stderr.write(`${error.message}\n${error.hint ? `\nhint: ${error.hint}\n` : ''}`)
  if (error.code === 'INTERNAL' && thrown instanceof Error) process.stderr.write(`${thrown.stack}\n`)
  return CATALOGUE[error.code].exit
}

/** Tells that a command waits for another, and what for. Ctrl-C ends that. */
export const waitsFor = (what: string, output: Output) => (): void => output.note(`waiting for another change of ${what}`)

/** Rows as aligned columns. */
export function table(rows: string[][]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd()).join('\n')
}
