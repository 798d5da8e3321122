import { jsonText, terminalText } from '../../schemas/shownText'
import { toWire } from '../errors/bridgeError'
import { CATALOGUE } from '../errors/catalogue'
import { errnoOf } from '../files'

/**
 * Where a command writes: with --json one object on stdout and nothing else, human text on stderr. Packs, wheels, indexes and logs choose much of what is
 * written; here, where it leaves, nothing that a terminal would obey is left of it.
 */
export interface Output {
  json: boolean
  /** The command's answer. */
  result: (value: unknown, human: () => string) => void
  /** Objects for a program that asked with many: one a line, whatever the form of the answer. */
  objects: (values: unknown[]) => void
  /** Progress and notes. */
  note: (text: string) => void
}

const writeObject = (value: unknown): void => void process.stdout.write(`${jsonText(value)}\n`)
const writeNote = (text: string): void => void process.stderr.write(`${terminalText(text)}\n`)

export function makeOutput(json: boolean): Output {
  return {
    json,
    result: (value, human) => (json ? writeObject(value) : process.stdout.write(`${terminalText(human())}\n`)),
    objects: (values) => void process.stdout.write(values.map((value) => `${jsonText(value)}\n`).join('')),
    note: writeNote,
  }
}

/** Prints an error as the command line's contract says and returns the exit code. */
export function reportError(thrown: unknown, output: Output): number {
  const error = toWire(thrown)
  if (output.json) writeObject({ error: { ...error, details: error.details ?? {} } })
  else writeNote(`${error.message}${error.hint ? `\n\nhint: ${error.hint}` : ''}`)
  if (error.code === 'INTERNAL' && thrown instanceof Error) writeNote(String(thrown.stack))
  return CATALOGUE[error.code].exit
}

/**
 * Who reads what we write may stop before its end (`| head -1`), or go with the terminal: what is under way goes on to its own end, and nothing is said. An
 * answer that cannot be written for another reason, such as a full disk, is a failed command.
 */
export function outliveReaders(): void {
  process.stderr.on('error', () => undefined)
  process.stdout.on('error', (error) => {
    if (errnoOf(error) !== 'EPIPE' && errnoOf(error) !== 'EIO') process.exit(reportError(error, makeOutput(false)))
  })
}

/** Tells that a command waits for another, and what for. Ctrl-C ends that. */
export const waitsFor = (what: string, output: Output) => (): void => output.note(`waiting for another change of ${what}`)

/** Rows as aligned columns. A cell is one line: what looks like another row is none. */
export function table(cells: string[][]): string {
  const rows = cells.map((row) => row.map((cell) => terminalText(cell.trimEnd()).replaceAll('\n', '␊')))
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd()).join('\n')
}
