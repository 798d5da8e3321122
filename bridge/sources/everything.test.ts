import { tmpdir } from 'node:os'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Fingerprint } from '../../schemas/host'
import { findCombinations } from '../resolve/finder'
import { makeTarget } from '../resolve/target'
import { type FileServer, startFileServer } from '../testing/fileServer'
import { gatherForAll } from './everything'
import { Http } from './http'
import { sourceOf } from './source'

let server: FileServer
beforeEach(async () => {
  server = await startFileServer()
})
afterEach(() => server.close())

const here: Fingerprint = {
  python: { version: '3.12.4', tag: 'cp312', abi: 'cp312', executable: '', source: '' },
  platform: { tag: 'win_amd64', os: 'windows', arch: 'AMD64', glibc: null },
  torch: { version: '2.9.1', cuda: '13.0', hip: null, cxx11abi: true, source: '' },
  cuda: null,
  gpus: [],
}

const WISHES = { pythonVersion: null, torchVersion: null, cudaVersion: null }

async function find(requirement: string, source: string): Promise<{ found: string[]; unanswered: string[] }> {
  const http = new Http({ proxy: null, mirrors: [], offline: false, cache: tmpdir(), githubToken: null })
  const options = { sources: [sourceOf(source)], registry: false, http, verify: true, pages: new Map(), allowedHosts: [], defaultIndex: async () => [] }
  const { wanted, candidatesFor, unanswered } = await gatherForAll([requirement], makeTarget(here), options)
  const offers = await findCombinations(wanted, candidatesFor, makeTarget(here), WISHES)
  return { found: offers.map(({ combination: { python, torch, cuda } }) => `${python} ${torch} ${cuda}`), unanswered: unanswered.map(({ code }) => code) }
}

test('a template is filled for each combination, and each address is asked for once', async () => {
  server.put('/f/ff-1.0+cu128torch2.8-cp311-cp311-win_amd64.whl', 'x')
  const { found } = await find('ff==1.0', `${server.url}/f/{package_us}-{version}+cu{cuda_short}torch{torch_mm_dot}-{py_tag}-{abi_tag}-{platform}.whl`)
  expect(found).toEqual(['3.11 2.8.0 12.8'])
  const asked = server.seen.map(({ path }) => path)
  expect(new Set(asked).size).toBe(asked.length)
})

test('a source that does not answer is told: "there is none" is not known then', async () => {
  expect(await find('ff==1.0', 'http://127.0.0.1:9/simple/')).toEqual({ found: [], unanswered: ['SOURCE_UNREACHABLE'] })
})
