/** `npm test`: every suite, one after the other, and one closing line with the counts. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ensurePython, ROOT } from './devPython.ts'

interface Counts {
  passed: number
  failed: number
  skipped: number
}

interface Suite {
  name: string
  command: string[]
  report: string
  count: (report: string) => Counts
}

const results = join(ROOT, 'test-results')
const bin = (name: string): string => join(ROOT, 'node_modules', '.bin', name)

function vitestCounts(report: string): Counts {
  const { numPassedTests, numFailedTests, numPendingTests, numFailedTestSuites } = JSON.parse(report) as Record<string, number>
  const failed = numFailedTests || (numFailedTestSuites ?? 0)
  return { passed: numPassedTests ?? 0, failed, skipped: numPendingTests ?? 0 }
}

function pytestCounts(report: string): Counts {
  const number = (name: string): number => Number(new RegExp(`<testsuite [^>]*\\b${name}="(\\d+)"`).exec(report)?.[1] ?? 0)
  const [failed, skipped] = [number('failures') + number('errors'), number('skipped')]
  return { passed: number('tests') - failed - skipped, failed, skipped }
}

function playwrightCounts(report: string): Counts {
  const { stats } = JSON.parse(report) as { stats: { expected: number; unexpected: number; flaky: number; skipped: number } }
  return { passed: stats.expected, failed: stats.unexpected + stats.flaky, skipped: stats.skipped }
}

const vitest = (project: string): Suite => {
  const report = join(results, `${project}.json`)
  const output = ['--reporter', 'default', '--reporter', 'json', '--outputFile.json', report]
  return { name: project, command: [bin('vitest'), 'run', '--project', project, ...output], report, count: vitestCounts }
}

const python = ensurePython()
const junit = join(results, 'python.xml')
const suites: Suite[] = [
  vitest('unit'),
  { name: 'python', command: [python, '-m', 'pytest', `--junit-xml=${junit}`], report: junit, count: pytestCounts },
  vitest('process'),
  { name: 'browser', command: [bin('playwright'), 'test'], report: join(results, 'browser.json'), count: playwrightCounts },
]

/** A suite that ended badly has failed, whatever its report says; so has one without a report. */
function run({ name, command, report, count }: Suite): Counts {
  const [file = '', ...args] = command
  const { status } = spawnSync(file, args, { cwd: ROOT, stdio: 'inherit' })
  try {
    const counts = count(readFileSync(report, 'utf8'))
    return status !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts
  } catch {
    console.error(`The suite ${name} left no report.`)
    return { passed: 0, failed: 1, skipped: 0 }
  }
}

rmSync(results, { recursive: true, force: true })
mkdirSync(results, { recursive: true })
const build = spawnSync('npm', ['run', 'build'], { cwd: ROOT, stdio: 'inherit' })
if (build.status !== 0) process.exit(1)
const counts = suites.map(run)
for (const [at, { passed, failed, skipped }] of counts.entries()) {
  const name = suites[at]?.name
  console.log(`${name}: ${passed} passed, ${failed} failed, ${skipped} skipped`)
}
const sum = (key: keyof Counts): number => counts.reduce((total, entry) => total + entry[key], 0)
console.log(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`)
process.exitCode = sum('failed') > 0 ? 1 : 0
