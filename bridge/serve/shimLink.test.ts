import { expect, test } from 'vitest'
import { ShimLink } from './shimLink'

interface Message {
  id?: number
  method?: string
  params?: Record<string, unknown>
}

/** A bridge's end of the link, and ComfyUI's ends as they come and go. */
function link(owners: () => string[] = () => []) {
  const faults: string[] = []
  const handlers = new Proxy({}, { get: () => () => { throw new Error('as asked') } }) as never
  const shim = new ShimLink(handlers, { onGone: () => undefined, owners, onFault: (what) => faults.push(what) })
  const connect = () => {
    const heard: Message[] = []
    const accepted = shim.accept({ role: 'shim', send: (text) => heard.push(JSON.parse(text) as Message), close: () => undefined })
    /** Answers what the bridge asks, as ComfyUI does when it has heard everything before it. */
    const confirm = () => {
      const check = heard.findLast(({ method }) => method === 'link.check')
      accepted.onMessage(JSON.stringify({ id: check?.id, result: {} }))
    }
    const told = () => heard.filter(({ method }) => method !== 'link.check').map(({ method, params }) => [method, params])
    return { ...accepted, heard, told, confirm }
  }
  return { shim, connect, faults }
}

const gone = (owner: string) => ({ worker: 'p#1', owner, packs: ['p'] })

test('what happens while ComfyUI is not linked is told when it is, with the processes that there are', () => {
  const { shim, connect } = link(() => ['a2'])
  shim.tell('lease.release', { leases: ['h-1'] })
  shim.tell('worker.gone', gone('a1'))
  expect(connect().told()).toEqual([
    ['lease.release', { leases: ['h-1'] }],
    ['worker.gone', gone('a1')],
    ['workers.alive', { owners: ['a2'] }],
  ])
})

test('what a break may have swallowed is told again, and what was confirmed is not', async () => {
  const { shim, connect } = link()
  const first = connect()
  shim.tell('lease.release', { leases: ['h-1'] })
  first.confirm()
  await Promise.resolve()
  await Promise.resolve()
  shim.tell('lease.release', { leases: ['h-2'] })
  first.onClose()
  expect(connect().told()).toEqual([['lease.release', { leases: ['h-2'] }], ['workers.alive', { owners: [] }]])
})

test('a message that cannot be read, an unknown method and a handler that throws end nothing', async () => {
  const { connect, faults } = link()
  const comfy = connect()
  comfy.onMessage('{"half')
  comfy.onMessage(JSON.stringify({ id: 7, method: 'no.such', params: {} }))
  comfy.onMessage(JSON.stringify({ method: 'handle.release', params: { owner: 'a1', handles: ['h1'] } }))
  comfy.onMessage(JSON.stringify({ id: 8, method: 'link.check', params: {} }))
  await new Promise((done) => setTimeout(done, 10))
  expect(comfy.heard.filter(({ id }) => id === 7 || id === 8)).toEqual([{ id: 7, error: expect.objectContaining({ code: 'BAD_REQUEST' }) }, { id: 8, result: {} }])
  expect(faults).toEqual(['handle.release'])
})
