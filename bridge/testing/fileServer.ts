import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a request is answered with in place of the file. */
export type Fault =
  | { status: number; headers?: Record<string, string>; body?: string }
  /** Says the whole length, sends this many bytes and then nothing more until `hangUp`. */
  | { stallAfter: number }
  | { redirect: string }
  | 'ok'

export interface Seen {
  path: string
  method: string
  range: string | null
  headers: IncomingMessage['headers']
}

/** A server of files on loopback with ranges and ETags, which answers with faults when told to. */
export interface FileServer {
  url: string
  seen: Seen[]
  put: (path: string, content: Buffer | string, headers?: Record<string, string>) => void
  /** The next answers for a path, one after the other; then the file again. */
  fault: (path: string, ...faults: Fault[]) => void
  /** Breaks every connection. */
  hangUp: () => void
  close: () => Promise<void>
}

interface File {
  content: Buffer
  headers: Record<string, string>
}

function send(request: IncomingMessage, response: ServerResponse, { content, headers }: File, fault: Fault): void {
  const etag = `"${createHash('sha256').update(content).digest('hex').slice(0, 16)}"`
  const all = { etag, 'accept-ranges': 'bytes', 'content-type': 'application/octet-stream', ...headers }
  if (request.headers['if-none-match'] === etag) return void response.writeHead(304, all).end()
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
  const whole = !range || (request.headers['if-range'] ?? etag) !== etag
  const from = whole ? 0 : Number(range[1])
  const to = whole || !range[2] ? content.length : Number(range[2]) + 1
  if (from >= content.length && content.length > 0) return void response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end()
  const part = content.subarray(from, to)
  const ranged = whole ? {} : { 'content-range': `bytes ${from}-${from + part.length - 1}/${content.length}` }
  response.writeHead(whole ? 200 : 206, { ...all, ...ranged, 'content-length': part.length })
  if (request.method === 'HEAD') return void response.end()
  if (typeof fault === 'object' && 'stallAfter' in fault) return void response.write(part.subarray(0, fault.stallAfter))
  response.end(part)
}

export async function startFileServer(): Promise<FileServer> {
  const files = new Map<string, File>()
  const faults = new Map<string, Fault[]>()
  const seen: Seen[] = []
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname)
    seen.push({ path, method: request.method ?? '', range: request.headers.range ?? null, headers: request.headers })
    const fault = faults.get(path)?.shift() ?? 'ok'
    if (typeof fault === 'object' && 'status' in fault) return void response.writeHead(fault.status, fault.headers).end(fault.body ?? '')
    if (typeof fault === 'object' && 'redirect' in fault) return void response.writeHead(302, { location: fault.redirect }).end()
    const file = files.get(path)
    if (!file) return void response.writeHead(404).end('not found')
    send(request, response, file, fault)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    put: (path, content, headers = {}) => void files.set(path, { content: Buffer.from(content), headers }),
    fault: (path, ...list) => void faults.set(path, list),
    hangUp: () => server.closeAllConnections(),
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
