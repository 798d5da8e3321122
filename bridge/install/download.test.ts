import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MARK } from '../mark'
import { Http, type NetSettings } from '../sources/http'
import { type FileServer, startFileServer } from '../testing/fileServer'
import { makeWheel, sha256 } from '../testing/makeWheel'
import { fetchWheel } from './download'

const FILENAME = 'big-1.0+cu128torch2.8-cp312-cp312-win_amd64.whl'
const BODY = randomBytes(300_000)
const WHEEL = makeWheel(FILENAME, { files: [{ path: 'big/data.bin', content: BODY }] })
const PATH = `/files/${FILENAME}`

let server: FileServer
let cache: string
beforeEach(async () => {
  server = await startFileServer()
  server.put(PATH, WHEEL)
  cache = mkdtempSync(join(tmpdir(), 'envmanager-download-'))
})
afterEach(async () => {
  await server.close()
  rmSync(cache, { recursive: true, force: true })
})

const net = (settings: Partial<NetSettings> = {}): Http => new Http({ proxy: null, mirrors: [], offline: false, cache, githubToken: null, retryWaitsMs: [1, 1, 1], ...settings })
const address = (): string => `${server.url}/files/${FILENAME.replaceAll('+', '%2B')}`

interface Options {
  sha?: string | null
  http?: Http
  url?: string
  signal?: AbortSignal
  onBytes?: (done: number, total: number | null) => void
}

const fetchIt = ({ sha = sha256(WHEEL), http = net(), url = address(), signal = new AbortController().signal, onBytes = () => undefined }: Options = {}): Promise<string> =>
  fetchWheel({ url, filename: FILENAME, sha256: sha }, cache, http, onBytes, signal)

const leftFiles = (): string[] =>
  readdirSync(cache, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile() && entry.name !== MARK && !entry.name.endsWith('.lock')).map(({ name }) => name)

test('a wheel arrives whole, with progress', async () => {
  const told: [number, number | null][] = []
  const path = await fetchIt({ onBytes: (done, total) => told.push([done, total]) })
  expect(readFileSync(path).equals(WHEEL)).toBe(true)
  expect(told.at(-1)).toEqual([WHEEL.length, WHEEL.length])
  expect(leftFiles()).toEqual([FILENAME])
})

test('what breaks off goes on where it stopped', async () => {
  server.fault(PATH, { stallAfter: 100_000 }, { stallAfter: 50_000 })
  const onBytes = (done: number): void => void ([100_000, 150_000].includes(done) && server.hangUp())
  expect(readFileSync(await fetchIt({ onBytes })).equals(WHEEL)).toBe(true)
  const ranges = server.seen.map(({ range }) => range)
  expect(ranges[0]).toBeNull()
  expect(ranges[1]).toBe('bytes=100000-')
  expect(ranges[2]).toBe('bytes=150000-')
})

test('a cancelled download goes on in the next one', async () => {
  server.fault(PATH, { stallAfter: 120_000 })
  const abort = new AbortController()
  const first = fetchIt({ signal: abort.signal, onBytes: (done) => done >= 120_000 && abort.abort() })
  await expect(first).rejects.toMatchObject({ code: 'CANCELLED' })
  expect(readFileSync(await fetchIt()).equals(WHEEL)).toBe(true)
  expect(server.seen.at(-1)?.range).toBe('bytes=120000-')
})

test('a file that was replaced meanwhile is taken anew', async () => {
  server.fault(PATH, { stallAfter: 120_000 })
  const abort = new AbortController()
  await expect(fetchIt({ sha: null, signal: abort.signal, onBytes: (done) => done >= 120_000 && abort.abort() })).rejects.toMatchObject({ code: 'CANCELLED' })
  const other = makeWheel(FILENAME, { files: [{ path: 'big/data.bin', content: randomBytes(200_000) }] })
  server.put(PATH, other)
  expect(readFileSync(await fetchIt({ sha: null })).equals(other)).toBe(true)
})

test('a partial file that is longer than the file is thrown away', async () => {
  const folder = join(cache, 'wheels', sha256(WHEEL).slice(0, 32))
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${FILENAME}.part`), Buffer.alloc(WHEEL.length + 10))
  writeFileSync(join(folder, `${FILENAME}.part.json`), JSON.stringify({ url: address(), validator: '"x"' }))
  expect(readFileSync(await fetchIt()).equals(WHEEL)).toBe(true)
})

test('a short read is told as one, not as a wrong hash', async () => {
  server.fault(PATH, ...Array.from({ length: 4 }, () => ({ stallAfter: 1000 })))
  await expect(fetchIt({ onBytes: () => server.hangUp() })).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED', message: expect.stringMatching(/broke off after 4000 of \d+ bytes/) })
})

test('another content than promised: refused, and nothing is kept', async () => {
  await expect(fetchIt({ sha: '0'.repeat(64) })).rejects.toMatchObject({ code: 'HASH_MISMATCH' })
  expect(leftFiles()).toEqual([])
})

test.each([403, 404, 410])('HTTP %i is not asked again', async (status) => {
  server.fault(PATH, { status }, 'ok')
  await expect(fetchIt()).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED', details: { status } })
  expect(server.seen).toHaveLength(1)
})

test('HTTP 503 is asked again', async () => {
  server.fault(PATH, { status: 503 })
  expect(existsSync(await fetchIt())).toBe(true)
})

test('HTTP 429 waits as long as it is told, or says until when', async () => {
  server.fault(PATH, { status: 429, headers: { 'retry-after': '1' } })
  expect(existsSync(await fetchIt())).toBe(true)
  rmSync(join(cache, 'wheels'), { recursive: true })
  server.fault(PATH, { status: 429, headers: { 'retry-after': '3600' } })
  await expect(fetchIt()).rejects.toMatchObject({ code: 'RATE_LIMITED', message: expect.stringMatching(/until \d\d:\d\d UTC/) })
})

test('a redirect is followed', async () => {
  server.put('/elsewhere', WHEEL)
  server.fault(PATH, { redirect: '/elsewhere' })
  expect(readFileSync(await fetchIt()).equals(WHEEL)).toBe(true)
})

test('a web page with status 200 is no wheel', async () => {
  server.put(PATH, '<!DOCTYPE html><html>gone</html>')
  await expect(fetchIt({ sha: null })).rejects.toMatchObject({ code: 'NOT_A_WHEEL', message: expect.stringContaining('is a web page') })
  expect(leftFiles()).toEqual([])
})

test('a mirror serves what its original does not, and the hash decides', async () => {
  server.put(`/mirror${PATH}`, WHEEL)
  const gone = 'http://127.0.0.1:9' // the discard port: nothing listens
  const http = net({ mirrors: [[`${gone}/`, `${server.url}/mirror/`]] })
  expect(readFileSync(await fetchIt({ http, url: `${gone}/files/${FILENAME.replaceAll('+', '%2B')}` })).equals(WHEEL)).toBe(true)
  server.put(`/mirror${PATH}`, makeWheel(FILENAME))
  rmSync(join(cache, 'wheels'), { recursive: true })
  await expect(fetchIt({ http, url: `${gone}/files/${FILENAME.replaceAll('+', '%2B')}` })).rejects.toMatchObject({ code: 'HASH_MISMATCH' })
})

test('two that want the same wheel at once fetch it once', async () => {
  const [a, b] = await Promise.all([fetchIt(), fetchIt()])
  expect(a).toBe(b)
  expect(server.seen).toHaveLength(1)
})

test('offline: what is kept is used, anything else is said', async () => {
  const http = net({ offline: true })
  await expect(fetchIt({ http })).rejects.toMatchObject({ code: 'OFFLINE' })
  await fetchIt()
  expect(statSync(await fetchIt({ http })).size).toBe(WHEEL.length)
})

test('a proxy carries the requests', async () => {
  const asked: string[] = []
  const proxy = createServer().on('connect', (request, socket) => {
    asked.push(request.url ?? '')
    socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
  })
  proxy.on('request', (request, response) => {
    asked.push(request.url ?? '')
    response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const { port } = proxy.address() as AddressInfo
  const http = net({ proxy: `http://127.0.0.1:${port}` })
  await expect(fetchIt({ http, url: `http://wheels.example/${FILENAME}` })).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED' })
  expect(asked.join(' ')).toContain('wheels.example')
  proxy.closeAllConnections()
  await new Promise((resolve) => proxy.close(resolve))
})
