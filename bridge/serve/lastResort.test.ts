import { EventEmitter } from 'node:events'
import { beforeEach, expect, test, vi } from 'vitest'
import type { Context } from './context'
import { catchTheRest } from './lastResort'

class Process extends EventEmitter {
  ended: number | null = null
  exit(code: number): void {
    this.ended = code
  }
}

const setUp = (): { process: Process; problems: string[]; journal: string[] } => {
  const process = new Process()
  const problems: string[] = []
  const journal: string[] = []
  const context = { problems, journal: { write: (_: string, { status }: { status: string }) => journal.push(status) }, store: { host: { problems: [] }, apply: () => undefined } }
  catchTheRest(context as unknown as Context, process)
  return { process, problems, journal }
}

let said: string[]
beforeEach(() => {
  said = []
  vi.spyOn(console, 'error').mockImplementation((text: string) => void said.push(text))
})

test.each([
  ['unhandledRejection', new Error('a promise\nmore'), null, 'A fault of ours, and the bridge goes on: a promise'],
  ['unhandledRejection', 'a text', null, 'A fault of ours, and the bridge goes on: a text'],
  ['uncaughtException', Object.assign(new Error('write EPIPE'), { code: 'EPIPE', syscall: 'write' }), null, 'A file or connection failed, and the bridge goes on: write EPIPE'],
  ['uncaughtException', new TypeError('x is undefined'), 1, 'A fault of ours, and the bridge is started again: x is undefined'],
  ['uncaughtException', Object.assign(new Error('bad'), { code: 'ERR_INVALID_STATE' }), 1, 'A fault of ours, and the bridge is started again: bad'],
])('after %s %s the bridge ends with %s', (event, error, ended, problem) => {
  const { process, problems, journal } = setUp()
  process.emit(event, error)
  expect([process.ended, problems, journal]).toEqual([ended, [problem], [problem]])
  expect(said).toHaveLength(1)
})
