import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { takeRunFolder } from '../runFolder'
import type { Settings } from '../settings'
import { LogFile } from './logFile'
import { jobHost, JobQueue } from './queue'

let home: string
let path: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'envmanager-queue-'))
  path = join(home, 'jobs', 'queue.json')
  mkdirSync(dirname(path))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const host = { comfyui: '/comfyui', base: '/comfyui', python: '/venv/bin', site: '/venv/lib/site-packages' }
const HERE = Promise.resolve(host)
const entry = (id: string, attempts = 1) => ({ id, request: { action: 'install' as const, pack: 'a', dir: '/a' }, started: 1, attempts })
const ids = (): string[] => (JSON.parse(readFileSync(path, 'utf8')) as { jobs: { id: string }[] }).jobs.map(({ id }) => id)

test('a job that starts while the queue is taken up stays on disk, and is not begun twice', async () => {
  writeFileSync(path, JSON.stringify({ schema: 1, jobs: [entry('job-00000001'), entry('job-00000002', 3)] }))
  const queue = new JobQueue(home, 'bbbbbbbbbbbb', HERE, vi.fn<() => void>())
  queue.add(entry('job-00000003'))
  await queue.settled()
  const takenUp = queue.takeUp()
  queue.add(entry('job-00000004'))
  expect(await takenUp).toMatchObject({ takenUp: [{ ...entry('job-00000001', 2), owner: 'bbbbbbbbbbbb', host }], givenUp: [{ entry: entry('job-00000002', 3), reason: { message: expect.stringContaining('is given up: 3 times') } }] })
  await queue.settled()
  expect(ids()).toEqual(['job-00000001', 'job-00000003', 'job-00000004'])
  queue.remove('job-00000001')
  await queue.settled()
  expect(ids()).toEqual(['job-00000003', 'job-00000004'])
})

test('two bridges of one home lose no job of each other', async () => {
  const queues = ['aaaaaaaaaaaa', 'bbbbbbbbbbbb'].map((owner) => new JobQueue(home, owner, HERE, vi.fn<() => void>()))
  queues.forEach((queue, at) => queue.add(entry(`job-0000000${at}`)))
  await Promise.all(queues.map((queue) => queue.settled()))
  expect(ids().sort()).toEqual(['job-00000000', 'job-00000001'])
})

test('a job whose log says that it has ended is not taken up from a queue that was put back, whatever another one has printed', async () => {
  const log = async (id: string, write: (log: LogFile) => void): Promise<void> => {
    const file = new LogFile(join(home, 'jobs', `${id}.ndjson`), () => undefined)
    write(file)
    await file.close()
  }
  await log('job-00000001', (file) => (file.append('Done.', 'switching'), file.markEnd(), file.append('Its switch could not be made.', 'switching', 'error')))
  await log('job-00000002', (file) => ['Done.', '{"ended":1}', 'x\n{"ended":1}\n'].forEach((text) => file.append(text, 'installing')))
  writeFileSync(path, JSON.stringify({ schema: 1, jobs: ['job-00000001', 'job-00000002', 'job-00000003'].map((id) => entry(id)) }))
  const queue = new JobQueue(home, 'bbbbbbbbbbbb', HERE, vi.fn<() => void>())
  expect((await queue.takeUp()).takenUp.map(({ id }) => id)).toEqual(['job-00000002', 'job-00000003'])
  expect(ids()).toEqual(['job-00000002', 'job-00000003'])
})

test('a job of a bridge that lives is left to it; when that has ended, another takes it up', async () => {
  const first = await takeRunFolder(home)
  const queue = new JobQueue(home, first.name, HERE, vi.fn<() => void>())
  queue.add(entry('job-00000001'))
  await queue.settled()
  const second = new JobQueue(home, 'bbbbbbbbbbbb', HERE, vi.fn<() => void>())
  expect(await second.takeUp()).toEqual({ takenUp: [], givenUp: [], elsewhere: [] })
  expect(ids()).toEqual(['job-00000001'])
  await first.leave()
  expect((await second.takeUp()).takenUp).toEqual([{ ...entry('job-00000001', 2), owner: 'bbbbbbbbbbbb', host }])
})

test.each(['comfyui', 'base', 'python', 'site'] as const)('a job of a ComfyUI with another %s is left to that one, also after many tries', async (differs) => {
  const other = { ...host, [differs]: '/other' }
  const jobs = [1, 3].map((attempts) => Object.assign(entry(`job-0000000${attempts}`, attempts), { host: other }))
  writeFileSync(path, JSON.stringify({ schema: 1, jobs }))
  const queue = new JobQueue(home, 'bbbbbbbbbbbb', HERE, vi.fn<() => void>())
  expect(await queue.takeUp()).toEqual({ takenUp: [], givenUp: [], elsewhere: jobs })
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ schema: 1, jobs })
  const its = new JobQueue(home, 'cccccccccccc', Promise.resolve(other), vi.fn<() => void>())
  expect(await its.takeUp()).toMatchObject({ takenUp: [{ id: 'job-00000001', attempts: 2 }], givenUp: [{ entry: { id: 'job-00000003' } }], elsewhere: [] })
})

test('a job in place that an older version began is given up with its reason: into which environment it goes is not known', async () => {
  const inPlace = { ...entry('job-00000002'), request: { ...entry('').request, in_place: true } }
  writeFileSync(path, JSON.stringify({ schema: 1, jobs: [entry('job-00000001'), inPlace] }))
  const queue = new JobQueue(home, 'bbbbbbbbbbbb', HERE, vi.fn<() => void>())
  expect(await queue.takeUp()).toMatchObject({ takenUp: [{ id: 'job-00000001' }], givenUp: [{ entry: inPlace, reason: { message: expect.stringContaining('did not note which') } }] })
  expect(ids()).toEqual(['job-00000001'])
})

test('a ComfyUI is known again by what its paths lead to', async () => {
  const [real, link] = [join(home, 'venv'), join(home, 'link')]
  mkdirSync(join(real, 'bin'), { recursive: true })
  symlinkSync(real, link)
  const at = (venv: string, python: string) => jobHost({ settings: { comfyui: venv, base: venv } as Settings, interpreter: join(venv, 'bin', python), hostSites: [venv] })
  expect(await at(link, 'python3')).toEqual(await at(real, 'python'))
})

test('a queue that cannot be read is not written over, and that is told', async () => {
  writeFileSync(path, '{"schema": 1, "jobs": [')
  const onFault = vi.fn<() => void>()
  const queue = new JobQueue(home, 'bbbbbbbbbbbb', HERE, onFault)
  await expect(queue.takeUp()).rejects.toMatchObject({ code: 'FILE_UNREADABLE', message: expect.stringContaining(path) })
  queue.add(entry('job-00000001'))
  await queue.settled()
  expect(onFault).toHaveBeenCalledWith(expect.objectContaining({ code: 'FILE_UNREADABLE' }))
  expect(readFileSync(path, 'utf8')).toBe('{"schema": 1, "jobs": [')
})
