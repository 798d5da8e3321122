import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Fingerprint } from '../../schemas/host'
import { Resolution } from '../../schemas/wheel'
import { makeTarget } from '../resolve/target'
import { anchors } from './html'
import { Http } from './http'
import { pageLinks } from './links'
import { resolveOne } from './resolve'
import { sourceOf } from './source'
import { torchPin } from './wheelMetadata'

const machine: Fingerprint = {
  python: { version: '3.12.4', tag: 'cp312', abi: 'cp312', executable: '', source: '' },
  platform: { tag: 'linux_x86_64', os: 'linux', arch: 'x86_64', glibc: '2.36' },
  torch: { version: '2.8.0', cuda: '12.8', hip: null, cxx11abi: true, source: '' },
  cuda: null,
  gpus: [],
}
const WHEEL = 'ff-1.0+cu128torch2.8-cp312-cp312-linux_x86_64.whl'
const OTHER = 'ff-0.9+cu128torch2.8-cp312-cp312-linux_x86_64.whl'
const PEP691 = 'application/vnd.pypi.simple.v1+json'

let folder: string
let server: Server
let url: string
let odd: RequestListener

/** A server whose `/good/` is a plain page with the older wheel, and whatever else is asked for the odd one. */
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'envmanager-odd-'))
  server = createServer({ maxHeaderSize: 1 << 20 }, (request, response) => {
    if (request.url === '/good/page.html') response.writeHead(200, { 'content-type': 'text/html' }).end(`<a href="/${OTHER}">x</a>`)
    else odd(request, response)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(async () => {
  server.closeAllConnections()
  await new Promise((done) => server.close(done))
  rmSync(folder, { recursive: true, force: true })
})

async function resolve(path: string): Promise<Resolution> {
  const http = new Http({ proxy: null, mirrors: [], offline: false, cache: folder, githubToken: null, patienceMs: 2000 })
  const sources = [`${url}${path}`, `${url}/good/page.html`].map((address) => sourceOf(address))
  const options = { sources, registry: false, http, verify: true, pages: new Map(), allowedHosts: [], defaultIndex: async () => [] }
  return Resolution.parse(await resolveOne('ff', makeTarget(machine), options))
}

const says = (type: string, body: string | Buffer, more: Record<string, string> = {}): RequestListener => (_, response) => void response.writeHead(200, { 'content-type': type, ...more }).end(body)
const json = (value: unknown): RequestListener => says(PEP691, typeof value === 'string' ? value : JSON.stringify(value))
const forever = (type: string, chunk: Buffer, more: Record<string, string> = {}): RequestListener => (_, response) => {
  response.writeHead(200, { 'content-type': type, ...more })
  const push = (): void => {
    while (!response.destroyed && response.write(chunk));
  }
  response.on('drain', push)
  push()
}
const MiB = 1 << 20
const bomb = (): Buffer => gzipSync(Buffer.alloc(80 * MiB, 32), { level: 9 })

// each is [what, where, answer, what the source's error says]
const FAULTS: [string, string, RequestListener, RegExp][] = [
  ['broken JSON', '/simple/', json('{not json'), /no JSON/],
  ['JSON null', '/simple/', json('null'), /lists no files/],
  ['a JSON number', '/simple/', json('1e999'), /lists no files/],
  ['files as an object', '/simple/', json({ files: { a: { url: WHEEL } } }), /lists no files/],
  ['files as a number', '/simple/', json({ files: 5 }), /lists no files/],
  ['deep nesting', '/simple/', json('['.repeat(200_000)), /no JSON/],
  ['deep nesting, closed', '/simple/', json('['.repeat(100_000) + ']'.repeat(100_000)), /no JSON|lists no files/],
  ['millions of files', '/simple/', json(`{"files":[${'0,'.repeat(2_000_000)}0]}`), /more than 100000 files/],
  ['JSON that calls itself HTML', '/page.html', says('text/html', '{"files": 5}'), /lists no files/],
  ['HTML that calls itself JSON', '/simple/', json(`<a href="/${WHEEL}">x</a>`), /no JSON/],
  ['NUL bytes', '/page.html', says('text/html', Buffer.alloc(4096)), /no page of text/],
  ['UTF-16', '/page.html', says('text/html; charset=utf-16', Buffer.from(`<a href="/${WHEEL}">x</a>`, 'utf16le')), /no page of text/],
  ['half of a gzip', '/simple/', says(PEP691, gzipSync(JSON.stringify({ files: [{ url: WHEEL }] })).subarray(0, 40), { 'content-encoding': 'gzip' }), /no JSON|broke off/],
  ['no gzip at all', '/page.html', says('text/html', 'plain', { 'content-encoding': 'gzip' }), /broke off|cannot be reached/],
  ['a gzip bomb', '/page.html', (request, response) => says('text/html', bomb(), { 'content-encoding': 'gzip' })(request, response), /larger than 64 MB/],
  ['a page without end', '/page.html', forever('text/html', Buffer.alloc(MiB, 'x')), /larger than 64 MB/],
  ['a page that drips', '/page.html', (_, response) => void response.writeHead(200).write('<a '), /did not come to its end within 2 s/],
  ['no answer', '/page.html', () => undefined, /did not answer within 2 s/],
  ['a redirect loop', '/page.html', (_, response) => void response.writeHead(302, { location: '/again' }).end(), /leads on more than 5 times/],
  ['a redirect to no address', '/page.html', (_, response) => void response.writeHead(302, { location: 'http://[' }).end(), /to no address/],
  ['headers without end', '/page.html', says('text/html', 'x', { 'x-much': 'x'.repeat(600_000) }), /cannot be reached/],
  ['a broken line', '/page.html', (request) => request.socket.destroy(), /cannot be reached/],
  ['a cut answer', '/page.html', (request, response) => void response.writeHead(200, { 'content-length': '100' }).write('x', () => request.socket.destroy()), /broke off/],
  ['no HTTP', '/page.html', (request) => request.socket.end('\u0000\u0001 no http\r\n\r\n'), /cannot be reached/],
  ['a manifest null', '/packages.json', json('null'), /no wheel manifest/],
  ['a manifest with wheels as text', '/packages.json', json({ schema: 1, packages: { ff: { wheels: 'x' } } }), /no wheel manifest/],
  ['a manifest of millions of faults', '/packages.json', json(`{"schema":1,"packages":{"ff":{"wheels":[${'0,'.repeat(2_000_000)}0]}}}`), /no wheel manifest/],
  ['a manifest in a manifest', '/packages.json', json(`${'{"schema":1,"packages":'.repeat(20_000)}0${'}'.repeat(20_000)}`), /no wheel manifest/],
  ['a hash that is a path', '/packages.json', json({ schema: 1, packages: { ff: { wheels: [{ filename: WHEEL, url: WHEEL, sha256: '../../../../evil' }] } } }), /no wheel manifest/],
  ['a list of releases as an object', '/o/r/releases/download/', (request, response) => (request.method === 'HEAD' ? response.writeHead(404).end() : json({ message: 'no' })(request, response)), /list of releases/],
  ['releases of numbers', '/o/r/releases/download/', (request, response) => (request.method === 'HEAD' ? response.writeHead(404).end() : json(`[${'0,'.repeat(2_000_000)}0]`)(request, response)), /list of releases/],
]

describe('a page that is odd is that source’s error, in one sentence, and the others’ wheels are found', () => {
  test.each(FAULTS)('%s', async (_, path, answer, message) => {
    odd = answer
    const found = await resolve(path)
    expect(found).toMatchObject({ status: 'found', filename: OTHER })
    expect(found.warnings.join(' ')).toMatch(message)
    expect(found.warnings).toHaveLength(1)
  })
})

// each holds the newer wheel beside what is odd
const readable: [string, RequestListener][] = [
  ['a BOM', json(`\uFEFF${JSON.stringify({ files: [{ url: `/${WHEEL}` }] })}`)],
  ['entries of every type', json({ files: [null, 1, 'x', [], {}, { url: 5 }, { url: '' }, { url: 'http://[/x.whl' }, { url: `/${WHEEL}`, hashes: [], size: -1, yanked: false }] })],
  ['a hash that is a path', json({ files: [{ url: `/bad/${WHEEL}`, hashes: { sha256: '../../../../evil' } }, { url: `/${WHEEL}`, size: 1e300 }] })],
  ['lone surrogates', json(`{"files":[{"url":"\\ud800.whl"},{"url":"/${WHEEL}","\\udfff":1}]}`)],
  ['keys of JavaScript', json(`{"__proto__":{"files":1},"constructor":1,"files":[{"__proto__":null,"url":"/${WHEEL}"}]}`)],
  ['names of 10 kB', json({ files: [{ url: `/${'x'.repeat(10_000)}-1.0-py3-none-any.whl` }, { url: `/${WHEEL}` }] })],
  ['addresses with control characters', json({ files: [{ url: '/\u001b]52;c;x\u0007.whl' }, { url: 'javascript:x.whl' }, { url: `/${WHEEL}` }] })],
  ['a bracket in a value', says('text/html', `<a data-requires-python=">=3.8" href=/${WHEEL}>x</a>`)],
  ['a wrong charset', says('text/html; charset=no-such', Buffer.concat([Buffer.from([0xff, 0xfe, 0x80]), Buffer.from(`<a href="/${WHEEL}">`)]))],
]

test.each(readable)('%s hides no wheel', async (_, answer) => {
  odd = answer
  const found = await resolve('/page.html')
  expect(found).toMatchObject({ status: 'found', filename: WHEEL, warnings: [] })
})

test('links in comments and scripts are none, and a page may end anywhere', () => {
  const page = { url: 'http://x/', contentType: 'text/html', next: null, text: `<!-- <a href=a.whl> --><script>"<a href=b.whl>"</script><p title='<a href=c.whl>'><A\nHREF = 'd%2B.whl' href=e.whl>` }
  expect(pageLinks(page, 'x').map(({ url: found }) => found)).toEqual(['http://x/d%2B.whl'])
  for (let end = 0; end < page.text.length; end++) expect(() => pageLinks({ ...page, text: page.text.slice(0, end) }, 'x')).not.toThrow()
})

/** Milliseconds that something takes, the best of three. */
function cost(work: () => void): number {
  return Math.min(...[1, 2, 3].map(() => {
    const began = performance.now()
    work()
    return performance.now() - began
  }))
}

const PATTERNS: [string, (n: number) => string][] = [
  ['tags that do not end', (n) => '<a '.repeat(n)],
  ['names and tags', (n) => `<a ${'href = '.repeat(n)}${'<a '.repeat(n)}`],
  ['spaces', (n) => `<a href='x' ${' '.repeat(3 * n)}`],
  ['spaces behind names', (n) => `<a ${`b${' '.repeat(50)}`.repeat(n / 10)}`],
  ['equal signs and spaces', (n) => `<a ${`= ${' '.repeat(50)}`.repeat(n / 10)}`],
  ['quotes that do not end', (n) => '<a b="'.repeat(n)],
  ['comments that do not end', (n) => '<!--'.repeat(n)],
  ['scripts that do not end', (n) => '<script><a>'.repeat(n)],
  ['entities', (n) => `<a href='${'&a'.repeat(n)}'>`],
]

test.each(PATTERNS)('a page of %s takes time by its length', (_, make) => {
  const [small, large] = [make(20_000), make(80_000)]
  const read = (text: string) => (): void => void [...anchors(text)]
  // sixteen times if it went by the square
  expect(cost(read(large))).toBeLessThan(Math.max(8 * cost(read(small)), 100))
})

test('a line of METADATA takes time by its length', () => {
  const line = (n: number): string => `Requires-Dist: torch${' '.repeat(n)}\u2028 x`
  expect(cost(() => torchPin(line(40_000)))).toBeLessThan(Math.max(8 * cost(() => torchPin(line(10_000))), 100))
})
