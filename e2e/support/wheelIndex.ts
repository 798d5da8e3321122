import { execFileSync } from 'node:child_process'
import { createReadStream, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, normalize } from 'node:path'
import { ROOT } from '../../scripts/devPython.ts'

export interface WheelIndex {
  /** Address of the simple index. */
  simple: string
  host: string
  folder: string
  /** Answers requests below this path prefix with something else: a fault to test. */
  fail: (prefix: string, answer: (response: ServerResponse) => void) => void
  /** Answers them with what is there again. */
  mend: (prefix: string) => void
  /** Paths that were asked for. */
  asked: string[]
  close: () => Promise<void>
}

/** A wheel to make; fields as of `make_wheel` in `e2e/wheels/make_wheels.py`. */
export interface WheelSpec {
  name: string
  version: string
  local?: string
  /** `py3` if absent; `here`: the Python of the tests. */
  python?: string
  abi?: string
  /** `any` if absent; `here`: this machine. */
  tag?: string
  code?: string
  requires?: string[]
  files?: number
  plain_metadata?: boolean
  extra?: Record<string, string>
}

/** Serves freshly made wheels, the sample packs' or the given ones, as a simple index on a free loopback port. */
export async function startWheelIndex(python: string, wheels?: WheelSpec[]): Promise<WheelIndex> {
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-wheels-'))
  execFileSync(python, [join(ROOT, 'e2e', 'wheels', 'make_wheels.py'), folder, ...(wheels ? [JSON.stringify(wheels)] : [])])
  const asked: string[] = []
  const faults = new Map<string, (response: ServerResponse) => void>()
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname))
    asked.push(path)
    const fault = [...faults].find(([prefix]) => path.startsWith(prefix))
    if (fault) return fault[1](response)
    const file = join(folder, path.endsWith('/') ? `${path}index.html` : path)
    if (!existsSync(file) || statSync(file).isDirectory()) return void response.writeHead(404).end('not found')
    const type = file.endsWith('.html') ? 'text/html' : 'application/octet-stream'
    response.writeHead(200, { 'content-type': type, 'content-length': statSync(file).size })
    if (request.method === 'HEAD') return void response.end()
    createReadStream(file).pipe(response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    simple: `http://${host}/simple/`,
    host,
    folder,
    fail: (prefix, answer) => void faults.set(prefix, answer),
    mend: (prefix) => void faults.delete(prefix),
    asked,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
