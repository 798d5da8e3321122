import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { takeRunFolder } from '../runFolder'
import { JobQueue } from './queue'

let home: string
let path: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'envmanager-queue-'))
  path = join(home, 'jobs', 'queue.json')
  mkdirSync(dirname(path))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const entry = (id: string, attempts = 1) => ({ id, request: { action: 'install' as const, pack: 'a', dir: '/a' }, started: 1, attempts })
const ids = (): string[] => (JSON.parse(readFileSync(path, 'utf8')) as { jobs: { id: string }[] }).jobs.map(({ id }) => id)

test('a job that starts while the queue is taken up stays on disk, and is not begun twice', async () => {
  writeFileSync(path, JSON.stringify({ schema: 1, jobs: [entry('job-00000001'), entry('job-00000002', 3)] }))
  const queue = new JobQueue(home, 'bbbbbbbbbbbb', vi.fn<() => void>())
  queue.add(entry('job-00000003'))
  await queue.settled()
  const takenUp = queue.takeUp()
  queue.add(entry('job-00000004'))
  expect(await takenUp).toEqual([{ ...entry('job-00000001', 2), owner: 'bbbbbbbbbbbb' }])
  await queue.settled()
  expect(ids()).toEqual(['job-00000001', 'job-00000003', 'job-00000004'])
  queue.remove('job-00000001')
  await queue.settled()
  expect(ids()).toEqual(['job-00000003', 'job-00000004'])
})

test('two bridges of one home lose no job of each other', async () => {
  const queues = ['aaaaaaaaaaaa', 'bbbbbbbbbbbb'].map((owner) => new JobQueue(home, owner, vi.fn<() => void>()))
  queues.forEach((queue, at) => queue.add(entry(`job-0000000${at}`)))
  await Promise.all(queues.map((queue) => queue.settled()))
  expect(ids().sort()).toEqual(['job-00000000', 'job-00000001'])
})

test('a job of a bridge that lives is left to it; when that has ended, another takes it up', async () => {
  const first = await takeRunFolder(home)
  const queue = new JobQueue(home, first.name, vi.fn<() => void>())
  queue.add(entry('job-00000001'))
  await queue.settled()
  const second = new JobQueue(home, 'bbbbbbbbbbbb', vi.fn<() => void>())
  expect(await second.takeUp()).toEqual([])
  expect(ids()).toEqual(['job-00000001'])
  await first.leave()
  expect(await second.takeUp()).toEqual([{ ...entry('job-00000001', 2), owner: 'bbbbbbbbbbbb' }])
})

test('a queue that cannot be read is not written over, and that is told', async () => {
  writeFileSync(path, '{"schema": 1, "jobs": [')
  const onFault = vi.fn<() => void>()
  const queue = new JobQueue(home, 'bbbbbbbbbbbb', onFault)
  await expect(queue.takeUp()).rejects.toMatchObject({ code: 'FILE_UNREADABLE', message: expect.stringContaining(path) })
  queue.add(entry('job-00000001'))
  await queue.settled()
  expect(onFault).toHaveBeenCalledWith(expect.objectContaining({ code: 'FILE_UNREADABLE' }))
  expect(readFileSync(path, 'utf8')).toBe('{"schema": 1, "jobs": [')
})
