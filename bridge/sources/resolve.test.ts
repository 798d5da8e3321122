import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Fingerprint } from '../../schemas/host'
import type { Resolution } from '../../schemas/wheel'
import { candidateOf } from '../resolve/candidate'
import { makeTarget } from '../resolve/target'
import { type FileServer, startFileServer } from '../testing/fileServer'
import { makeWheel } from '../testing/makeWheel'
import { Http, type NetSettings } from './http'
import { resolveOne } from './resolve'
import { sourceOf } from './source'

let server: FileServer
let folder: string
beforeEach(async () => {
  server = await startFileServer()
  folder = mkdtempSync(join(tmpdir(), 'envmanager-sources-'))
})
afterEach(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

const machine = (torch = '2.8.0', cuda: string | null = '12.8'): Fingerprint => ({
  python: { version: '3.12.4', tag: 'cp312', abi: 'cp312', executable: '', source: '' },
  platform: { tag: 'linux_x86_64', os: 'linux', arch: 'x86_64', glibc: '2.36' },
  torch: { version: torch, cuda, hip: null, cxx11abi: true, source: '' },
  cuda: null,
  gpus: [],
})

interface Options {
  fingerprint?: Fingerprint
  net?: Partial<NetSettings>
}

function resolve(requirement: string, sources: string[], { fingerprint = machine(), net = {} }: Options = {}): Promise<Resolution> {
  const http = new Http({ proxy: null, mirrors: [], offline: false, cache: folder, githubToken: null, ...net })
  const options = { sources: sources.map((address) => sourceOf(address)), registry: false, http, verify: true, pages: new Map(), allowedHosts: [], defaultIndex: async () => [] }
  return resolveOne(requirement, makeTarget(fingerprint), options)
}

const wheel = (build: string, name = 'ff', version = '0.4.0'): string => `${name}-${version}+${build}-cp312-cp312-linux_x86_64.whl`
const link = (file: string, text = file): string => `<a href="/files/${file.replaceAll('+', '%2B')}">${text}</a>`
const html = { 'content-type': 'text/html' }
const json = { 'content-type': 'application/json' }

describe('a page that mixes builds', () => {
  const builds = ['cu124torch2.4', 'cu128torch2.8', 'cu128torch2.10', 'cu130torch2.9', 'cu132torch2.13']
  const page = (): void => server.put('/flat/', builds.map((build) => link(wheel(build))).join('\n'), html)

  test('gives the build of this torch, not the highest', async () => {
    page()
    expect((await resolve('ff==0.4.0', [`${server.url}/flat/`])).filename).toBe(wheel('cu128torch2.8'))
    expect((await resolve('ff==0.4.0', [`${server.url}/flat/`], { fingerprint: machine('2.10.0') })).filename).toBe(wheel('cu128torch2.10'))
  })

  test('a pin of the local part asks for that very build', async () => {
    page()
    expect((await resolve('ff==0.4.0+cu128torch2.8', [`${server.url}/flat/`])).filename).toBe(wheel('cu128torch2.8'))
    const other = await resolve('ff==0.4.0+cu130torch2.9', [`${server.url}/flat/`])
    expect(other.status).toBe('none')
    expect(other.rejected.find(({ filename }) => filename === wheel('cu130torch2.9'))?.reasons).toEqual(['TORCH_MINOR', 'CUDA_MAJOR'])
  })
})

test('a link’s address counts, not its text', async () => {
  server.put('/flat/', link(wheel('cu128torch2.8'), wheel('cu128torch2.4')), html)
  expect((await resolve('ff', [`${server.url}/flat/`])).filename).toBe(wheel('cu128torch2.8'))
})

test.each([
  ['+', (file: string) => file],
  ['%2B', (file: string) => file.replaceAll('+', '%2B')],
  ['?download=true', (file: string) => `${file}?download=true`],
])('addresses with %s are read', async (_, form) => {
  server.put('/flat/', `<a href="/files/${form(wheel('cu128torch2.8'))}">x</a>`, html)
  expect(await resolve('ff', [`${server.url}/flat/`])).toMatchObject({ status: 'found', filename: wheel('cu128torch2.8') })
})

test('a JSON index: hash, size and yanked', async () => {
  const files = [
    { filename: 'x', url: `/files/${wheel('cu128torch2.8')}`, hashes: { sha256: 'a'.repeat(64) }, size: 5 },
    { filename: 'y', url: `/files/${wheel('cu128torch2.8', 'ff', '0.5.0')}`, hashes: {}, yanked: 'broken' },
  ]
  server.put('/simple/ff/', JSON.stringify({ meta: { 'api-version': '1.0' }, name: 'ff', files }), { 'content-type': 'application/vnd.pypi.simple.v1+json' })
  const found = await resolve('ff', [`${server.url}/simple/`])
  expect(found).toMatchObject({ version: '0.4.0', sha256: 'a'.repeat(64) })
  expect(found.rejected[0]?.reasons).toEqual(['YANKED'])
})

test('a packages.json: hash, and packages that link no torch', async () => {
  const entry = (file: string): object => ({ filename: file, url: `${server.url}/files/${file}`, sha256: 'b'.repeat(64), version: '0.4.0' })
  const packages = { ff: { torch_free: false, wheels: [entry(wheel('cu128torch2.4'))] }, free: { torch_free: true, wheels: [entry(wheel('cu128torch2.4', 'free'))] } }
  server.put('/publisher/packages.json', JSON.stringify({ schema: 1, repo: 'o/r', packages }), json)
  expect((await resolve('ff', [`${server.url}/publisher/packages.json`])).status).toBe('none')
  expect(await resolve('free', [`${server.url}/publisher/packages.json`])).toMatchObject({ status: 'found', sha256: 'b'.repeat(64) })
  server.put('/publisher/packages.json', JSON.stringify({ schema: 2 }), json)
  expect(await resolve('ff', [`${server.url}/publisher/packages.json`])).toMatchObject({ status: 'error', error: expect.stringContaining('no wheel manifest') })
})

describe('GitHub releases', () => {
  const API = '/api/v3/repos/o/r/releases'
  const listing = (...files: string[]): string => JSON.stringify([{ draft: false, assets: files.map((name) => ({ name, browser_download_url: `${server.url}/o/r/releases/download/t/${name.replaceAll('+', '%2B')}`, size: 7, digest: `sha256:${'c'.repeat(64)}` })) }])
  const apiCalls = (): string[] => server.seen.filter(({ path }) => path === API).map(({ headers }) => headers['if-none-match'] ?? 'new')

  test('a known tag form is found without the API', async () => {
    server.put(`/o/r/releases/download/ff-latest/${wheel('cu128torch2.8')}`, 'x')
    expect(await resolve('ff==0.4.0', [`${server.url}/o/r/releases/download/`])).toMatchObject({ status: 'found', filename: wheel('cu128torch2.8') })
    expect(apiCalls()).toEqual([])
  })

  test('else the release list, asked again by its ETag only', async () => {
    server.put(API, listing(wheel('cu128torch2.8'), 'notes.txt', wheel('cu130torch2.9')), json)
    const ask = (): Promise<Resolution> => resolve('ff==0.4.0', [`${server.url}/o/r/releases/download/`])
    expect(await ask()).toMatchObject({ status: 'found', filename: wheel('cu128torch2.8'), sha256: 'c'.repeat(64) })
    expect((await ask()).status).toBe('found')
    expect(apiCalls()).toEqual(['new', expect.stringMatching(/^"[0-9a-f]+"$/)])
  })

  test('pages of the list are followed', async () => {
    server.put(API, listing(wheel('cu130torch2.9')), { ...json, link: `<${server.url}${API}/2>; rel="next"` })
    server.put(`${API}/2`, listing(wheel('cu128torch2.8')), json)
    expect((await resolve('ff', [`${server.url}/o/r/releases`])).filename).toBe(wheel('cu128torch2.8'))
  })

  test('a rate limit is not "no such wheel", and not "no such repository"', async () => {
    const reset = Math.round(Date.now() / 1000) + 600
    server.fault(API, { status: 403, headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(reset) } })
    const limited = await resolve('ff', [`${server.url}/o/r/releases`])
    expect(limited).toMatchObject({ status: 'error', error: expect.stringMatching(/asks to slow down \(HTTP 403\) until \d\d:\d\d UTC/) })
    server.fault(API, { status: 403 })
    expect(await resolve('ff', [`${server.url}/o/r/releases`])).toMatchObject({ error: expect.stringContaining('refuses access (HTTP 403)') })
    server.fault(API, { status: 404 })
    expect(await resolve('ff', [`${server.url}/o/r/releases`])).toMatchObject({ error: expect.stringContaining('There is no repository') })
  })
})

describe('a wheel whose name is silent about torch', () => {
  const file = 'xf-0.0.33-cp39-abi3-manylinux_2_28_x86_64.whl'
  const metadata = (pin: string): string => `Metadata-Version: 2.1\nName: xf\nVersion: 0.0.33\nRequires-Dist: numpy\nRequires-Dist: ${pin}\n\nText\nRequires-Dist: torch==1.0\n`
  const serve = (pin: string, extra = ''): void => {
    server.put(`/files/${file}`, makeWheel(file, { metadata: metadata(pin) }))
    server.put('/flat/', `<a href="/files/${file}"${extra}>x</a>`, html)
  }

  test('is judged by its METADATA, read by ranges', async () => {
    serve('torch==2.8.0')
    expect(await resolve('xf', [`${server.url}/flat/`])).toMatchObject({ status: 'found', filename: file })
    const whole = server.seen.filter(({ path, method, range }) => path === `/files/${file}` && method === 'GET' && range === null)
    expect(whole).toEqual([])
    const none = await resolve('xf', [`${server.url}/flat/`], { fingerprint: machine('2.9.0') })
    expect(none).toMatchObject({ status: 'none', nearest: [{ change: { torch: '2.8.0' } }] })
  })

  test('a lower bound is one', async () => {
    serve('torch (>=2.7)')
    expect((await resolve('xf', [`${server.url}/flat/`])).status).toBe('found')
    expect((await resolve('xf', [`${server.url}/flat/`], { fingerprint: machine('2.6.0') })).rejected[0]?.reasons).toContain('TORCH_MIN')
  })

  test('METADATA beside the wheel is used where the index has it', async () => {
    serve('torch==2.4.0', ' data-core-metadata="true"')
    server.put(`/files/${file}.metadata`, metadata('torch==2.8.0'))
    expect((await resolve('xf', [`${server.url}/flat/`])).status).toBe('found')
    expect(server.seen.some(({ path }) => path === `/files/${file}`)).toBe(false)
  })

  test('that asks for no torch stays unlabelled and is never chosen', async () => {
    serve('numpy<3')
    expect((await resolve('xf', [`${server.url}/flat/`])).rejected[0]?.reasons).toEqual(['UNLABELLED'])
  })
})

test('a folder is read with its sub-folders, which may carry labels', async () => {
  const put = (path: string): void => {
    mkdirSync(dirname(join(folder, 'cu118', path)), { recursive: true })
    writeFileSync(join(folder, 'cu118', path), 'x')
  }
  put('Linux/Torch280/CUDA 12.8/kk-1.0-cp312-cp312-linux_x86_64.whl')
  put('Linux/Torch270/kk-1.1-cp312-cp312-linux_x86_64.whl')
  const found = await resolve('kk', [join(folder, 'cu118')])
  expect(found).toMatchObject({ status: 'found', version: '1.0' }) // the folder above, cu118, says nothing of them
  expect(found.rejected[0]?.reasons).toEqual(['TORCH_MINOR'])
})

test.each([
  ['a URL that is not there', '/gone/', /is not there \(HTTP 404\)/],
  ['a server that refuses', '/refused/', /refuses access \(HTTP 403\)/],
  ['a server that is limited', '/limited/', /asks to slow down \(HTTP 429\)/],
  ['a server that is broken', '/broken/', /has an error of its own \(HTTP 500\)/],
])('%s is an error, not "no wheel"', async (_, path, message) => {
  server.fault('/refused/', { status: 403 })
  server.fault('/refused/ff/', { status: 403 })
  server.fault('/limited/ff/', { status: 429 })
  server.fault('/broken/ff/', { status: 500 })
  expect(await resolve('ff', [`${server.url}${path}`])).toMatchObject({ status: 'error', error: expect.stringMatching(message) })
})

test('a pack’s source may not lead to a host that nobody knows', async () => {
  const evil = `<a href="https://evil.example/${wheel('cu128torch2.8').replaceAll('+', '%2B')}">x</a>`
  server.put('/flat/', evil, html)
  const http = new Http({ proxy: null, mirrors: [], offline: false, cache: folder, githubToken: null })
  const options = { registry: false, http, verify: true, pages: new Map(), allowedHosts: [] as string[], defaultIndex: async () => [] }
  const ask = (byPack: boolean, allowedHosts: string[] = []): Promise<Resolution> =>
    resolveOne('ff', makeTarget(machine()), { ...options, pages: new Map(), allowedHosts, sources: [sourceOf(`${server.url}/flat/`, byPack)] })
  expect((await ask(true)).rejected[0]?.reasons).toEqual(['HOST_NOT_ALLOWED'])
  expect((await ask(true, ['evil.example'])).status).toBe('found')
  expect((await ask(false)).status).toBe('found') // the user named the source
})

test('one source that fails does not hide another that answers', async () => {
  server.put('/flat/', link(wheel('cu128torch2.8')), html)
  const found = await resolve('ff', ['http://127.0.0.1:9/simple/', `${server.url}/flat/`])
  expect(found).toMatchObject({ status: 'found', warnings: [expect.stringContaining('cannot be reached')] })
})

test('offline, pages that were read before are used', async () => {
  server.put('/flat/', link(wheel('cu128torch2.8')), html)
  expect((await resolve('ff', [`${server.url}/flat/`], { net: { offline: true } })).error).toContain('offline mode is on')
  await resolve('ff', [`${server.url}/flat/`])
  expect((await resolve('ff', [`${server.url}/flat/`], { net: { offline: true } })).status).toBe('found')
})

test('a mirror answers for a template’s file', async () => {
  server.put(`/mirror/${wheel('cu128torch2.8')}`, 'x')
  const source = 'http://127.0.0.1:9/{package}-{version}+cu{cuda_short}torch{torch_mm_dot}-{py_tag}-{abi_tag}-linux_x86_64.whl'
  expect((await resolve('ff==0.4.0', [source], { net: { mirrors: [['http://127.0.0.1:9/', `${server.url}/mirror/`]] } })).status).toBe('found')
  expect((await resolve('ff==0.4.0', [source])).status).toBe('error')
})

test('a mirror answers for a page', async () => {
  server.put('/mirror/flat/', link(wheel('cu128torch2.8')), html)
  server.put('/mirror/flat/ff/', link(wheel('cu128torch2.8')), html)
  expect((await resolve('ff', ['http://127.0.0.1:9/flat/'], { net: { mirrors: [['http://127.0.0.1:9/', `${server.url}/mirror/`]] } })).status).toBe('found')
})

test('a package whose name carries the CUDA answers for the plain name', async () => {
  const file = 'spconv_cu126-2.3.8-cp312-cp312-manylinux_2_28_x86_64.whl'
  const http = new Http({ proxy: null, mirrors: [], offline: false, cache: folder, githubToken: null })
  const asked: string[] = []
  const found = await resolveOne('spconv', makeTarget(machine()), {
    sources: [{ kind: 'default', address: '{package}-cu{cuda_short2}', versions: null, os: null, values: {}, byPack: false }],
    registry: false,
    http,
    verify: true,
    pages: new Map(),
    allowedHosts: [],
    defaultIndex: async ({ name }) => {
      asked.push(name)
      return [candidateOf(`https://files.example/${file}`, 'index')]
    },
  })
  expect(asked).toEqual(['spconv-cu126'])
  expect(found).toMatchObject({ status: 'found', filename: file, warnings: ['CUDA_MINOR'] })
})
