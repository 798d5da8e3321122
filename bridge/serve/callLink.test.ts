import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { BridgeError } from '../errors/bridgeError'
import { FrameReader, frame } from '../rpc/frames'
import { Retired } from '../workers/lifecycle'
import type { Worker } from '../workers/worker'
import { CallLinks } from './callLink'
import type { WorkerService } from './workerService'

interface Answer {
  id?: number
  owner?: string
  error?: { code: string }
}

/** A worker that notes what it is given. */
function makeWorker(owner: string, work: () => Promise<unknown> = async () => undefined) {
  const given: string[] = []
  const worker = {
    spec: { id: 'p#1' },
    call: async (call: { call: string }) => {
      await work()
      given.push(call.call)
      return { owner, body: Buffer.from('1'), error: undefined, read: true }
    },
  } as unknown as Worker
  return { worker, given }
}

/** The call path with a stand-in for the workers. */
function path(find: () => Promise<Worker>) {
  const journal = { called: () => undefined }
  const workers = { only: () => null, for: find, cancel: () => false, straight: () => undefined } as unknown as WorkerService
  const links = new CallLinks({ journal, host: null } as never, workers, () => undefined)
  const answers: Answer[] = []
  const reader = new FrameReader((header) => answers.push(JSON.parse(header) as Answer))
  let isOpen = true
  const { onFrame } = links.accept({ send: (data) => reader.push(data), close: () => (isOpen = false) })
  const send = (header: unknown): void => new FrameReader(onFrame).push(frame(header, Buffer.from('{}')))
  const call = (name: string) => ({ call: name, pack: 'p', class: 'Node', method: 'FUNCTION', node: '1', prompt: null })
  return { answers, send, call, isOpen: () => isOpen }
}

test('a cancel that comes while the worker of a call is still being found keeps it from running', async () => {
  let found = (): void => undefined
  const gate = new Promise<void>((resolve) => (found = resolve))
  const { worker, given } = makeWorker('a1')
  const { answers, send, call } = path(async () => {
    await gate
    return worker
  })
  send({ id: 1, call: call('c1') })
  send({ cancel: 'c1' })
  send({ id: 2, call: call('c2') })
  found()
  await pause(5)
  expect(given).toEqual(['c2'])
  expect(answers.map(({ id, owner, error }) => [id, owner, error?.code])).toEqual([[1, undefined, 'NODE_INTERRUPTED'], [2, 'a1', undefined]])
})

test('a worker that was replaced before it took a call is followed by its successor, once', async () => {
  const old = makeWorker('a1', async () => {
    throw new Retired('p#1')
  })
  const next = makeWorker('a2')
  const found = [old.worker, next.worker]
  const { answers, send, call } = path(async () => found.shift() ?? old.worker)
  send({ id: 1, call: call('c1') })
  await pause(5)
  send({ id: 2, call: call('c2') })
  await pause(5)
  expect(next.given).toEqual(['c1'])
  expect(answers.map(({ id, owner, error }) => [id, owner, error?.code])).toEqual([[1, 'a2', undefined], [2, undefined, 'WORKER_DIED']])
})

test('a call that cannot be read is refused, and the others on its connection go on', async () => {
  const { worker } = makeWorker('a1')
  const { answers, send, call, isOpen } = path(async () => worker)
  send({ id: 1, call: { ...call('c1'), unknown: true } })
  send({ id: 2, call: call('c2') })
  await pause(5)
  expect(answers.map(({ id, owner, error }) => [id, owner, error?.code])).toEqual([[1, undefined, 'BAD_REQUEST'], [2, 'a1', undefined]])
  expect(isOpen()).toBe(true)
})

test('a refusal names no process: nobody has the memory of the call', async () => {
  const { answers, send, call } = path(async () => {
    throw new BridgeError('HANDLE_GONE', 'It is gone.')
  })
  send({ id: 1, call: { ...call('c1'), owners: ['a1'] } })
  await pause(5)
  expect(answers).toEqual([{ id: 1, error: expect.objectContaining({ code: 'HANDLE_GONE' }) }])
})
