import type { LogLine } from '../../schemas/job'
import { plainText } from './ansi'

export const LEVELS = ['all', 'warn', 'error'] as const
export type LevelFilter = (typeof LEVELS)[number]

export interface LogFilter {
  level: LevelFilter
  /** Empty: every phase. */
  phase: string
  search: string
  onlyMatches: boolean
  /** Groups that are folded, by the number of their first line. */
  folded: ReadonlySet<number>
}

/** Lines of one phase that follow each other, or one line. */
export type Row = { kind: 'group'; seq: number; phase: string; count: number; seconds: number; folded: boolean; worst: LogLine['level'] } | { kind: 'line'; line: LogLine }

const RANK: Record<LogLine['level'], number> = { debug: 0, info: 1, warn: 2, error: 3 }
const LOWEST: Record<LevelFilter, number> = { all: 0, warn: 2, error: 3 }

export const phasesOf = (lines: readonly LogLine[]): string[] => [...new Set(lines.map(({ phase }) => phase))]

/** What is searched: the line as it is shown. */
export const contains = (line: LogLine, wanted: string): boolean => plainText(line.text).toLowerCase().includes(wanted)

interface Group {
  seq: number
  phase: string
  lines: LogLine[]
  begin: number
  end: number
  worst: LogLine['level']
}

function group(lines: readonly LogLine[]): Group[] {
  const groups: Group[] = []
  for (const line of lines) {
    const last = groups.at(-1)
    if (last?.phase === line.phase) {
      last.lines.push(line)
      last.end = line.time
      if (RANK[line.level] > RANK[last.worst]) last.worst = line.level
    } else groups.push({ seq: line.seq, phase: line.phase, lines: [line], begin: line.time, end: line.time, worst: line.level })
  }
  return groups
}

/** The rows to show: grouped by phase where there is more than one, filtered by level, phase and, if asked, by the search. */
export function buildRows(lines: readonly LogLine[], { level, phase, search, onlyMatches, folded }: LogFilter): Row[] {
  const wanted = search.toLowerCase()
  const lowest = LOWEST[level]
  const kept = lines.filter((line) => RANK[line.level] >= lowest && (phase === '' || line.phase === phase) && (!onlyMatches || wanted === '' || contains(line, wanted)))
  const groups = group(kept)
  if (groups.length < 2) return kept.map((line) => ({ kind: 'line', line }))
  const rows: Row[] = []
  for (const { seq, phase: name, lines: own, begin, end, worst } of groups) {
    const isFolded = folded.has(seq)
    rows.push({ kind: 'group', seq, phase: name, count: own.length, seconds: (end - begin) / 1000, folded: isFolded, worst })
    if (!isFolded) for (const line of own) rows.push({ kind: 'line', line })
  }
  return rows
}

/** Indexes of the rows in which the search is found. */
export function findMatches(rows: readonly Row[], search: string): number[] {
  const wanted = search.toLowerCase()
  if (wanted === '') return []
  return rows.flatMap((row, index) => (row.kind === 'line' && contains(row.line, wanted) ? [index] : []))
}

/** Lines as text, to copy or to save. */
export function asText(lines: readonly LogLine[], times: boolean): string {
  return lines.map(({ time, level, phase, text }) => [...(times ? [new Date(time).toISOString()] : []), level.padEnd(5), phase, plainText(text)].join('  ')).join('\n')
}
