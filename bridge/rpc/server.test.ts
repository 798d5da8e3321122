import { request } from 'node:http'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { type Link, listen, type Server } from './server'

const TOKEN = 'a'.repeat(64)
let server: Server
let links: Link[]
let sockets: WebSocket[]
beforeEach(async () => {
  links = []
  sockets = []
  server = await listen(0, null, TOKEN, {
    messages: (link) => (links.push(link), { onMessage: () => undefined, onClose: () => undefined }),
    calls: () => ({ onFrame: () => undefined, onClose: () => undefined }),
  })
})
afterEach(async () => {
  sockets.forEach((socket) => socket.terminate())
  await server.close()
})

/** The status of an upgrade's refusal; 101 for one that is taken. */
function open(role: string): Promise<number> {
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}/${role}`, { headers: { authorization: `Bearer ${TOKEN}` } })
  sockets.push(socket)
  socket.on('error', () => undefined)
  return new Promise((done) => {
    socket.once('open', () => done(101))
    socket.once('unexpected-response', (_, { statusCode }) => done(statusCode ?? 0))
  })
}

function openCalls(): Promise<number> {
  const headers = { authorization: `Bearer ${TOKEN}`, connection: 'Upgrade', upgrade: 'envmanager-calls' }
  const asked = request({ host: '127.0.0.1', port: server.port, path: '/calls', headers }).end()
  asked.on('error', () => undefined)
  return new Promise((done) => {
    asked.once('upgrade', () => done(101))
    asked.once('response', ({ statusCode }) => done(statusCode ?? 0))
  })
}

test('tabs take places of tabs only, and a place is free again when its tab has gone', async () => {
  for (let i = 0; i < 40; i++) expect(await open(i % 2 ? 'panel' : 'viewer')).toBe(101)
  expect([await open('viewer'), await open('panel')]).toEqual([503, 503])
  expect([await open('shim'), await openCalls()]).toEqual([101, 101])
  sockets[0]?.terminate()
  await expect.poll(() => open('viewer')).toBe(101)
})

test('calls take no place of ComfyUI or of a tab', async () => {
  for (let i = 0; i < 64; i++) expect(await openCalls()).toBe(101)
  expect([await openCalls(), await open('shim'), await open('panel')]).toEqual([503, 101, 101])
})

test.each([['viewer', 8], ['shim', 512]])('a %s that does not read is dropped when %i MiB wait for it', async (role, limit) => {
  await open(role)
  ;(sockets[0] as unknown as { _socket: { pause: () => void } })._socket.pause()
  const text = 'x'.repeat(4 << 20)
  let sent = 0
  for (; sent < (limit + 64) << 20 && sockets[0]?.readyState === WebSocket.OPEN; sent += text.length) {
    links[0]?.send(text)
    await new Promise((done) => setImmediate(done))
  }
  ;(sockets[0] as unknown as { _socket: { resume: () => void } })._socket.resume()
  await expect.poll(() => sockets[0]?.readyState).toBe(WebSocket.CLOSED)
})
