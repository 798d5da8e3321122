import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Http } from './http'
import { isPrivate, redirectProblem } from './redirects'

test.each(['127.0.0.1', '10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.1.1', '169.254.169.254', '100.64.0.1', '0.0.0.0', '[::1]', '[::]', '[fc00::1]', '[fe80::1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', 'localhost', 'a.localhost', 'printer', 'nas.local', 'metadata.google.internal', 'router.lan', 'localhost.'])('%s is private', (host) => {
  expect(isPrivate(new URL(`http://${host}/`).hostname)).toBe(true)
})

test.each(['github.com', '8.8.8.8', '172.32.0.1', '[2606:4700::1]', 'download.pytorch.org', '100.128.0.1'])('%s is public', (host) => {
  expect(isPrivate(new URL(`http://${host}/`).hostname)).toBe(false)
})

test.each([
  ['https://a.github.io/x', 'http://a.github.io/x', 'from https to http'],
  ['https://a.github.io/x', 'https://169.254.169.254/latest', 'into a private network'],
  ['http://a.example/x', 'http://127.0.0.1:8188/', 'into a private network'],
  ['http://a.example/x', 'http://0x7f.1/', 'into a private network'],
  ['https://a.example/x', 'file:///etc/passwd', 'to file:'],
  ['https://github.com/x', 'https://release-assets.githubusercontent.com/x', null],
  ['http://127.0.0.1:1/x', 'http://127.0.0.1:2/x', null],
  ['http://nas.local/x', 'https://nas.local/x', null],
])('%s to %s: %s', (from, to, problem) => {
  expect(redirectProblem(new URL(from), new URL(to))).toBe(problem)
})

let server: ReturnType<typeof createServer>
let base: string
const seen: { url: string; authorization: string | undefined; method: string | undefined }[] = []
beforeAll(async () => {
  server = createServer((request, response) => {
    seen.push({ url: request.url ?? '', authorization: request.headers.authorization, method: request.method })
    const hops = Number(/^\/hops\/(\d+)/.exec(request.url ?? '')?.[1] ?? 0)
    if (request.url === '/evil') response.writeHead(302, { location: 'file:///etc/passwd' }).end()
    else if (request.url === '/away') response.writeHead(302, { location: `http://localhost:${(server.address() as AddressInfo).port}/hops/0` }).end()
    else if (hops > 0) response.writeHead(302, { location: `/hops/${hops - 1}` }).end()
    else response.end('there')
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())

const http = (): Http => new Http({ proxy: null, mirrors: [], offline: false, cache: tmpdir(), githubToken: null })

test('five hops are followed, a sixth is not', async () => {
  const response = await http().send(`${base}/hops/5`)
  expect([await response.text(), response.url]).toEqual(['there', `${base}/hops/0`])
  await expect(http().send(`${base}/hops/6`)).rejects.toThrow(/leads on more than 5 times/)
})

test('a redirect to what may not be is told, and a token stays with its host', async () => {
  await expect(http().send(`${base}/evil`)).rejects.toThrow(/leads to file:.*is not followed/)
  seen.length = 0
  await http().send(`${base}/away`, { headers: { authorization: 'Bearer x' } })
  expect(seen.map(({ authorization }) => authorization)).toEqual(['Bearer x', undefined])
})
