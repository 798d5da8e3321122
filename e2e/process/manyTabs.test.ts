/** Places of the bridge by who takes them: tabs take none of ComfyUI's or of its calls. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { until } from '../support/processes.ts'
import { Subject } from '../support/faults.ts'
import { run } from '../support/prompts.ts'
import { trouble } from '../support/workflows.ts'

let subject: Subject
beforeAll(async () => {
  subject = await Subject.start('trouble-maker')
})
afterAll(() => subject.end())

interface Tab {
  socket: WebSocket
  notices: string[]
  closed: boolean
}

function open(): Promise<Tab> {
  const { url } = subject.comfy
  const tab: Tab = { socket: new WebSocket(`${url.replace('http', 'ws')}/api/envmanager/ws`, { origin: url }), notices: [], closed: false }
  tab.socket.on('message', (data: Buffer) => {
    const { method, params } = JSON.parse(data.toString()) as { method?: string; params?: { message?: string } }
    if (method === 'shim.status') tab.notices.push(params?.message ?? '')
  })
  tab.socket.on('close', () => (tab.closed = true))
  return new Promise((done) => tab.socket.once('open', () => done(tab)))
}

test('forty tabs are served, one more is told, and isolated nodes run all the while', async () => {
  const tabs = await Promise.all(Array.from({ length: 39 }, open)) // the panel of the test is the fortieth
  const isFull = (tab: Tab): boolean => tab.notices.includes('Too many tabs show the panel.')
  const late: Tab[] = []
  await until('a tab to be refused', async () => {
    late.push(await open())
    return [...tabs, ...late].some(isFull)
  })
  expect(tabs.filter(({ closed }) => closed)).toEqual([])
  const again = await run(subject.comfy.url, trouble('TroubleRaise', { how: 'value' }))
  expect(again.error.exception_message).not.toMatch(/refused|503/i)
  expect(again.error.exception_type).toBe('ValueError')
  const { pid } = await subject.worker()
  process.kill(pid ?? 0, 'SIGKILL') // its next process connects too
  await subject.panel.until(({ workers }) => workers.some(({ state }) => state.status === 'crashed'), 'the crash')
  expect((await run(subject.comfy.url, trouble('TroubleRaise', { how: 'value' }))).error.exception_type).toBe('ValueError')
  for (const { socket } of [...tabs, ...late]) socket.terminate()
  await until('a tab to be served again', async () => {
    const tab = await open()
    const answered = new Promise<boolean>((done) => {
      tab.socket.on('message', (data: Buffer) => (data.toString().includes('"id":1') ? done(true) : undefined))
      tab.socket.on('close', () => done(false))
    })
    tab.socket.send(JSON.stringify({ id: 1, method: 'state.snapshot', params: {} }))
    const served = await answered
    tab.socket.terminate()
    return served
  })
})
