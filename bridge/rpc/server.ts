import { rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server as HttpServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import type { LinkRole } from '../../schemas/connection'
import { BridgeError } from '../errors/bridgeError'
import { admit } from './auth'
import { FrameReader } from './frames'

const MiB = 1 << 20
type MessageRole = Exclude<LinkRole, 'calls'>
/** Largest message by role: a panel sends ids, a shim sends its report. */
const LARGEST: Record<MessageRole, number> = { panel: MiB, viewer: MiB, shim: 64 * MiB }
/** Who takes places of one kind: tabs, however many there are, take none of ComfyUI's or of its calls. */
const MOST: Record<'tabs' | 'shim' | 'calls', number> = { tabs: 40, shim: 4, calls: 64 }
const kindOf = (role: LinkRole): keyof typeof MOST => (role === 'panel' || role === 'viewer' ? 'tabs' : role)
/** Who does not read so much is dropped. A panel asks for a snapshot when it comes back, ComfyUI is told again what it must hear. */
const MOST_BUFFERED: Record<MessageRole, number> = { panel: 8 * MiB, viewer: 8 * MiB, shim: 512 * MiB }
const MOST_PER_SECOND = 400

/** One connected client, as the rest of the bridge sees it. */
export interface Link {
  role: MessageRole
  send: (text: string) => void
  close: () => void
}

export interface Accept {
  onMessage: (text: string) => void
  onClose: () => void
}

/** One connection of the call path. */
export interface CallConnection {
  send: (frame: Buffer) => void
  close: () => void
}

export interface AcceptCalls {
  onFrame: (header: string, body: Buffer) => void
  onClose: () => void
}

export interface Doors {
  messages: (link: Link) => Accept
  calls: (connection: CallConnection) => AcceptCalls
}

export interface Server {
  port: number
  close: () => Promise<void>
}

function connect(socket: WebSocket, role: MessageRole, accept: Doors['messages']): void {
  const link: Link = {
    role,
    send: (text) => {
      if (socket.bufferedAmount > MOST_BUFFERED[role]) socket.terminate()
      else if (socket.readyState === socket.OPEN) socket.send(text)
    },
    close: () => socket.terminate(),
  }
  const { onMessage, onClose } = accept(link)
  let [second, count] = [0, 0]
  socket.on('message', (data, binary) => {
    const now = Math.floor(Date.now() / 1000)
    if (now !== second) [second, count] = [now, 0]
    count++
    const size = (data as Buffer).length
    if (binary || size > LARGEST[role] || (role !== 'shim' && count > MOST_PER_SECOND)) return socket.terminate()
    onMessage((data as Buffer).toString('utf8'))
  })
  socket.on('error', () => socket.terminate())
  socket.on('close', onClose)
}

/** After the upgrade there are frames only, in both directions. */
function connectCalls(socket: Duplex, head: Buffer, accept: Doors['calls']): void {
  ;(socket as Socket).setNoDelay?.(true)
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: envmanager-calls\r\nConnection: Upgrade\r\n\r\n')
  const { onFrame, onClose } = accept({ send: (data) => void socket.write(data), close: () => socket.destroy() })
  const reader = new FrameReader(onFrame)
  const take = (chunk: Buffer): void => {
    try {
      reader.push(chunk)
    } catch {
      socket.destroy()
    }
  }
  if (head.length > 0) take(head)
  socket.on('data', take)
  socket.on('close', onClose)
}

/** Waits until the server listens. A taken port is PORT_TAKEN. */
function listening(http: HttpServer, where: { port: number; host: string } | { path: string }): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    http.once('error', (cause: NodeJS.ErrnoException) => {
      const taken = 'port' in where && (cause.code === 'EADDRINUSE' || cause.code === 'EACCES')
      reject(taken ? new BridgeError('PORT_TAKEN', `Port ${where.port} is taken by another program.`, { cause }) : cause)
    })
    http.listen(where, resolve)
  })
}

/** Serves one text on loopback, at `/metrics`, to programs of this computer: a page of another origin has another `Host`, or an `Origin`. */
export async function serveText(port: number, text: () => string): Promise<() => Promise<void>> {
  const http = createServer((request, response) => {
    const { host = '', origin } = request.headers
    const mine = [`127.0.0.1:${port}`, `localhost:${port}`].includes(host) && origin === undefined
    if (!mine) return void response.writeHead(403).end()
    if (request.url !== '/metrics' || request.method !== 'GET') return void response.writeHead(404).end()
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8', 'x-content-type-options': 'nosniff' }).end(text())
  })
  await listening(http, { port, host: '127.0.0.1' })
  return () => new Promise((resolve) => void http.close(() => resolve()))
}

const refuse = (socket: Duplex, status: number): void => void socket.end(`HTTP/1.1 ${status} Refused\r\nConnection: close\r\n\r\n`)

/** Listens on loopback, and on the Unix socket `path` if there is one. `port` 0 takes a free one. */
export async function listen(port: number, path: string | null, token: string, doors: Doors): Promise<Server> {
  const http = createServer((_, response) => response.writeHead(426).end())
  const local = path === null ? null : createServer((_, response) => response.writeHead(426).end())
  const sockets = new WebSocketServer({ noServer: true, maxPayload: LARGEST.shim, perMessageDeflate: false })
  const taken: Record<keyof typeof MOST, Set<Duplex>> = { tabs: new Set(), shim: new Set(), calls: new Set() }
  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on('error', () => socket.destroy())
    const admission = admit(request, (http.address() as AddressInfo).port, token)
    if ('status' in admission) return refuse(socket, admission.status)
    const { role } = admission
    const places = taken[kindOf(role)]
    if (places.size >= MOST[kindOf(role)]) return refuse(socket, 503)
    places.add(socket)
    socket.once('close', () => places.delete(socket))
    if (role === 'calls') {
      connectCalls(socket, head, doors.calls)
    } else {
      sockets.handleUpgrade(request, socket, head, (client) => connect(client, role, doors.messages))
    }
  }
  http.on('upgrade', onUpgrade)
  local?.on('upgrade', onUpgrade)
  await listening(http, { port, host: '127.0.0.1' })
  if (local && path !== null) {
    await rm(path, { force: true })
    await listening(local, { path })
  }
  return {
    port: (http.address() as AddressInfo).port,
    close: async () => {
      sockets.clients.forEach((client) => client.terminate())
      taken.calls.forEach((socket) => socket.destroy())
      await Promise.all([http, local].map((server) => server && new Promise((resolve) => server.close(resolve))))
    },
  }
}
