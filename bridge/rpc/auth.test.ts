import type { IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import { admit } from './auth'

const token = 'ab'.repeat(32)
const port = 4321

function ask(headers: Record<string, string>, url = '/panel', raw = Object.entries(headers).flat()): ReturnType<typeof admit> {
  const lower = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  return admit({ headers: lower, rawHeaders: raw, url } as unknown as IncomingMessage, port, token)
}

const right = { Host: `127.0.0.1:${port}`, Authorization: `Bearer ${token}` }

test('the shim is let in', () => {
  expect(ask(right)).toEqual({ role: 'panel' })
  expect(ask({ ...right, Host: `localhost:${port}` }, '/shim')).toEqual({ role: 'shim' })
})

test.each(['evil.example', `evil.example:${port}`, '127.0.0.1', `127.0.0.1:${port + 1}`, `127.0.0.1.nip.io:${port}`, '', `0.0.0.0:${port}`])('Host %j is refused', (host) => {
  expect(ask({ ...right, Host: host })).toMatchObject({ status: 403 })
})

test('two Hosts are refused', () => {
  expect(ask(right, '/panel', ['Host', right.Host, 'host', 'evil'])).toMatchObject({ status: 400 })
})

test.each(['http://evil.example', 'null', `http://127.0.0.1:${port}`, ''])('any Origin (%j) is refused: a browser does not come here', (origin) => {
  expect(ask({ ...right, Origin: origin })).toMatchObject({ status: 403 })
})

test.each(['', 'Bearer ', `Bearer ${'cd'.repeat(32)}`, `Bearer ${token}00`, `Bearer ${token.slice(2)}`, `Basic ${token}`, token])('the token %j is refused', (authorization) => {
  expect(ask({ ...right, Authorization: authorization })).toMatchObject({ status: 401 })
})

test.each(['/', '/admin', `/panel?token=${token}`, '/panel/'])('the address %s is refused', (url) => {
  expect(ask(right, url)).toMatchObject({ status: 400 })
})
