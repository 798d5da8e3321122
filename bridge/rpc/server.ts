import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer, type WebSocket } from 'ws'
import type { LinkRole } from '../../schemas/connection'
import { BridgeError } from '../errors/bridgeError'
import { admit } from './auth'

const MiB = 1 << 20
/** Largest message by role: a panel sends ids, a shim sends a node's values (tensors excepted). */
const LARGEST: Record<LinkRole, number> = { panel: MiB, viewer: MiB, shim: 64 * MiB }
const MOST_CLIENTS = 32
const MOST_BUFFERED = 8 * MiB
const MOST_PER_SECOND = 400

/** One connected client, as the rest of the bridge sees it. */
export interface Link {
  role: LinkRole
  send: (text: string) => void
  close: () => void
}

export interface Accept {
  onMessage: (text: string) => void
  onClose: () => void
}

export interface Server {
  port: number
  close: () => Promise<void>
}

function connect(socket: WebSocket, role: LinkRole, accept: (link: Link) => Accept): void {
  const link: Link = {
    role,
    send: (text) => {
      // a panel that does not read is dropped: it asks for a snapshot when it comes back
      if (role !== 'shim' && socket.bufferedAmount > MOST_BUFFERED) socket.terminate()
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

/** Listens on loopback only. `port` 0 takes a free one; a taken port is PORT_TAKEN. */
export async function listen(port: number, token: string, accept: (link: Link) => Accept): Promise<Server> {
  const http = createServer((_, response) => response.writeHead(426).end())
  const sockets = new WebSocketServer({ noServer: true, maxPayload: LARGEST.shim, perMessageDeflate: false })
  http.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy())
    const admission = admit(request, (http.address() as AddressInfo).port, token)
    if ('status' in admission || sockets.clients.size >= MOST_CLIENTS) {
      const status = 'status' in admission ? admission.status : 503
      socket.end(`HTTP/1.1 ${status} Refused\r\nConnection: close\r\n\r\n`)
      return
    }
    sockets.handleUpgrade(request, socket, head, (client) => connect(client, admission.role, accept))
  })
  await new Promise<void>((resolve, reject) => {
    http.once('error', (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === 'EADDRINUSE' || cause.code === 'EACCES'
      reject(taken ? new BridgeError('PORT_TAKEN', `Port ${port} is taken by another program.`, { cause }) : cause)
    })
    http.listen(port, '127.0.0.1', resolve)
  })
  return {
    port: (http.address() as AddressInfo).port,
    close: async () => {
      sockets.clients.forEach((client) => client.terminate())
      await new Promise((resolve) => http.close(resolve))
    },
  }
}
