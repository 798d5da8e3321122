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

const HOSTS = [
  'evil.example', `evil.example:${port}`, '127.0.0.1', `127.0.0.1:${port + 1}`, `127.0.0.1.nip.io:${port}`, '', `0.0.0.0:${port}`,
  'localhost', `localhost:${port}0`, `localhost.:${port}`, `localhost.evil.example:${port}`, `evil.localhost:${port}`, `LOCALHOST:${port}`,
  `127.0.0.2:${port}`, `127.1:${port}`, `2130706433:${port}`, `0x7f000001:${port}`, `0177.0.0.1:${port}`, `127.0.0.1:0${port}`, `127.0.0.1:+${port}`,
  `127.0.0.1:${port} `, ` 127.0.0.1:${port}`, `127.0.0.1:${port},evil.example`, `127.0.0.1:${port}@evil.example`, `evil@127.0.0.1:${port}`, `http://127.0.0.1:${port}`,
  `[::1]`, `::1:${port}`, `[::]:${port}`, `[::ffff:127.0.0.1]:${port}`, `[0:0:0:0:0:0:0:1]:${port}`, `127.0.0.1:${port}/panel`, `127.0.0.1:${port}#`, `192.168.0.5:${port}`,
] // prettier-ignore
test.each(HOSTS)('Host %j is refused', (host) => {
  expect(ask({ ...right, Host: host })).toMatchObject({ status: 403 })
})

test('two Hosts are refused', () => {
  expect(ask(right, '/panel', ['Host', right.Host, 'host', 'evil'])).toMatchObject({ status: 400 })
})

const ORIGINS = [
  'http://evil.example', 'https://evil.example', 'null', `http://127.0.0.1:${port}`, `https://127.0.0.1:${port}`, `http://localhost:${port}`, `http://[::1]:${port}`, '',
  `http://127.0.0.1`, `http://127.0.0.1:8188`, `http://127.0.0.1:${port}.evil.example`, `http://127.0.0.1.nip.io:${port}`, `http://evil.example:${port}`, `http://localhost.evil.example`,
  'file://', 'data:', 'about:blank', 'blob:null', 'chrome-extension://abcdef', 'moz-extension://abcdef', 'vscode-webview://abcdef', 'app://obsidian.md', 'capacitor://localhost', 'ionic://localhost',
  'tauri://localhost', 'ws://127.0.0.1', 'undefined', '*', ' ', `http://127.0.0.1:${port}/`, `http://user@127.0.0.1:${port}`, `http://127.0.0.1:${port} http://evil.example`,
] // prettier-ignore
test.each(ORIGINS)('any Origin (%j) is refused: a browser does not come here', (origin) => {
  expect(ask({ ...right, Origin: origin })).toMatchObject({ status: 403 })
})

test.each(['', 'Bearer ', `Bearer ${'cd'.repeat(32)}`, `Bearer ${token}00`, `Bearer ${token.slice(2)}`, `Basic ${token}`, token])('the token %j is refused', (authorization) => {
  expect(ask({ ...right, Authorization: authorization })).toMatchObject({ status: 401 })
})

test.each(['/', '/admin', `/panel?token=${token}`, '/panel/'])('the address %s is refused', (url) => {
  expect(ask(right, url)).toMatchObject({ status: 400 })
})
