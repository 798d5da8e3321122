/** What the bridge writes down of itself, and that its ids join a panel's request, a job, a worker and a call. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { PYTHON } from '../../scripts/devPython.ts'
import { SHARED_CACHE } from '../support/cache.ts'
import { comfyEnv } from '../support/cli.ts'
import { Subject } from '../support/faults.ts'
import { until } from '../support/processes.ts'
import { finished, queue } from '../support/prompts.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'
import { trouble } from '../support/workflows.ts'

type Entry = Record<string, unknown>

let index: WheelIndex
let subject: Subject
beforeAll(async () => {
  index = await startWheelIndex(PYTHON)
  subject = await Subject.start('trouble-maker', { COMFY_ENV_SOURCES: index.simple, COMFY_ENV_CACHE: SHARED_CACHE }, ['vintage-tone'])
})
afterAll(async () => {
  await subject.end()
  await index.close()
})

const file = (): string => readFileSync(join(subject.comfy.home, 'logs', 'bridge.ndjson'), 'utf8')
const entries = (): Entry[] => file().trim().split('\n').map((line) => JSON.parse(line) as Entry)
const one = (wanted: Entry): Entry | undefined => entries().find((entry) => Object.entries(wanted).every(([name, value]) => entry[name] === value))

test('an install is followed from the panel’s request to its job, and a failed call from its prompt to its worker’s process', async () => {
  const { job } = await subject.panel.call<{ job: string }>('install.start', { pack: 'vintage-tone' })
  await subject.panel.until(({ jobs }) => jobs.some(({ id, state }) => id === job && state.status === 'done'), 'the job')
  const prompt = await queue(subject.comfy.url, trouble('TroubleRaise', { how: 'value' }))
  await finished(subject.comfy.url, prompt)
  await until('the call to be written down', () => one({ event: 'call', prompt }) !== undefined)
  expect(one({ event: 'panel', method: 'install.start' })).toMatchObject({ panel: expect.any(Number), request: expect.any(Number), pack: 'vintage-tone', job })
  expect(entries().filter((entry) => entry.event === 'job' && entry.job === job).map(({ status }) => status)).toEqual(['running', 'done'])
  const call = one({ event: 'call', prompt })
  expect(call).toMatchObject({ pack: 'trouble-maker', class: 'TroubleRaise', node: '2', worker: 'trouble-maker#1', code: 'NODE_RAISED' })
  const { pid } = await subject.worker()
  expect(one({ event: 'worker', worker: call?.worker, status: 'ready' })).toMatchObject({ pid })
  process.kill(pid ?? 0, 'SIGKILL')
  await until('the crash to be written down', () => one({ event: 'worker', status: 'crashed' })?.code === 'SIGKILL')
})

test('the command line shows it, the report has it, and no token is in it', async () => {
  const { json } = await comfyEnv(['logs', 'bridge', '--home', subject.comfy.home, '--json'])
  expect((json as { entries: Entry[] }).entries).toEqual(entries())
  const { parts } = await subject.panel.call<{ parts: { text: string }[] }>('report.make', {})
  expect(parts.map(({ text }) => text).join('')).toMatch(/Log of the bridge, its last lines\n.*"event":"bridge"/)
  expect(file()).not.toContain(subject.connection().token)
})
