/** `npm run faults`: every fault case with its figure, one line each, and those that cannot run here. `TIMES`: how often, of the dozen that must hold every time (20, or once where one takes long); `KILLS`: how often an install is killed; `LEAKS=1`: the leak cases with their full numbers, not a twentieth of them (hours). */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ensurePython, ROOT } from './devPython.ts'
import { FAULT_CASES, type FaultCase } from './faultCases.ts'

interface Ran {
  name: string
  passed: boolean
  skipped: boolean
  seconds: number
}

/** Cases whose tests are repeated as a whole. */
const EVERY_ROUND = new Set([11, 34, 46, 47, 55])
const results = join(ROOT, 'test-results')
const report = join(results, 'faults.json')
const figures = join(results, 'fault-figures.ndjson')
const FILES = ['e2e/faults', 'e2e/process/supervision', 'e2e/process/sandbox', 'e2e/process/install', 'e2e/process/cli', 'bridge/']

ensurePython()
mkdirSync(results, { recursive: true })
rmSync(figures, { force: true })
const env = { ...process.env, FAULT_FIGURES: figures, KILLS: process.env.KILLS ?? process.env.TIMES ?? '20', ROUNDS: process.env.TIMES ?? '1' }
const args = ['run', '--project', 'faults', '--project', 'process', '--project', 'unit', ...FILES, '--reporter', 'default', '--reporter', 'json', '--outputFile.json', report]
spawnSync(join(ROOT, 'node_modules', '.bin', 'vitest'), args, { cwd: ROOT, stdio: 'inherit', env })

const json = JSON.parse(readFileSync(report, 'utf8')) as { testResults: { assertionResults: { fullName: string; status: string; duration?: number }[] }[] }
const ran: Ran[] = json.testResults.flatMap(({ assertionResults }) =>
  assertionResults.map(({ fullName, status, duration }) => ({ name: fullName.trim(), passed: status === 'passed', skipped: status !== 'passed' && status !== 'failed', seconds: (duration ?? 0) / 1000 })),
)
const told = new Map<number, string>()
if (existsSync(figures)) {
  for (const line of readFileSync(figures, 'utf8').trim().split('\n').filter(Boolean)) {
    const { number, text } = JSON.parse(line) as { number: number; text: string }
    told.set(number, text)
  }
}

function verdict({ number, by, not }: FaultCase): { word: 'ok' | 'FAILED' | 'not here'; figure: string } {
  if (not) return { word: 'not here', figure: not }
  const found = by.map((pattern) => ran.filter(({ name }) => pattern.test(name)))
  const tests = found.flat()
  const isMissing = found.some((list) => list.length === 0)
  if (tests.length > 0 && tests.every(({ skipped }) => skipped)) return { word: 'not here', figure: 'its tests were skipped on this machine' }
  const failed = tests.filter(({ passed, skipped }) => !passed && !skipped)
  if (isMissing || failed.length > 0) return { word: 'FAILED', figure: failed.map(({ name }) => name).join(', ') || 'no such test' }
  const longest = Math.max(...tests.map(({ seconds }) => seconds))
  const rounds = EVERY_ROUND.has(number) ? `${env.ROUNDS} of ${env.ROUNDS}, ` : ''
  return { word: 'ok', figure: rounds + (told.get(number) ?? `${tests.length} ${tests.length === 1 ? 'test' : 'tests'}, the longest ${longest.toFixed(1)} s`) }
}

const verdicts = FAULT_CASES.map((each) => ({ each, told: verdict(each) }))
for (const { each: { number, title }, told: { word, figure } } of verdicts) console.log(`${String(number).padStart(2)} ${word.padEnd(8)} ${title}: ${figure}`)
const count = (word: string): number => verdicts.filter(({ told }) => told.word === word).length
console.log(`${count('ok')} held, ${count('FAILED')} failed, ${count('not here')} not here`)
process.exitCode = count('FAILED') > 0 ? 1 : 0
