import { ShimNotice } from '../../schemas/panelLink'
import { bridgeToPanel } from '../../schemas/panelLink'
import { type Bridge, type BridgeEvents, CallError, type Method, type Params, type Result } from './bridge'

const RETRY_MS = 1000

interface Waiting {
  resolve: (value: unknown) => void
  reject: (error: CallError) => void
}

interface Message {
  id?: number
  method?: string
  params?: unknown
  result?: unknown
  error?: { code: string; message: string; hint: string }
}

/** Connects on ComfyUI's own origin, and again whenever the link is lost. Every waiting call is settled then. */
export function connectBridge(url: string, events: BridgeEvents): Bridge {
  let socket: WebSocket | null = null
  let next = 1
  let closed = false
  const waiting = new Map<number, Waiting>()

  const lost = (): void => {
    for (const { reject } of waiting.values()) reject(new CallError('CONNECTION_LOST', 'The connection was lost.', ''))
    waiting.clear()
    events.onLost()
  }

  const notified = (method: string, params: unknown): void => {
    if (method === 'shim.status') {
      const notice = ShimNotice.shape.params.safeParse(params)
      if (!notice.success) return
      events.onNotice(notice.data)
      if (notice.data.status === 'running') events.onOpen()
      return
    }
    const { 'state.changed': state, 'log.lines': lines } = bridgeToPanel.notifications
    if (method === 'nodes.changed') events.onNodesChanged()
    else if (method === 'log.lines') {
      const parsed = lines.safeParse(params)
      if (parsed.success) events.onLines(parsed.data.log, parsed.data.lines)
    } else if (method === 'state.changed') {
      const parsed = state.safeParse(params)
      if (parsed.success) events.onState(parsed.data)
    }
  }

  const receive = (text: string): void => {
    const message = JSON.parse(text) as Message
    if (message.method !== undefined) return notified(message.method, message.params)
    const call = waiting.get(message.id ?? -1)
    waiting.delete(message.id ?? -1)
    if (message.error) call?.reject(new CallError(message.error.code, message.error.message, message.error.hint))
    else call?.resolve(message.result)
  }

  const open = (): void => {
    const current = new WebSocket(url)
    socket = current
    current.addEventListener('message', ({ data }) => receive(String(data)))
    current.addEventListener('close', () => {
      if (socket !== current || closed) return
      lost()
      setTimeout(open, RETRY_MS)
    })
  }
  open()

  return {
    call: <M extends Method>(method: M, params: Params<M>) =>
      new Promise<unknown>((resolve, reject) => {
        if (socket?.readyState !== WebSocket.OPEN) {
          reject(new CallError('CONNECTION_LOST', 'ComfyUI is not connected.', 'Wait a moment and try again.'))
          return
        }
        const id = next++
        waiting.set(id, { resolve, reject })
        socket.send(JSON.stringify({ id, method, params }))
      }) as Promise<Result<M>>,
    close: () => {
      closed = true
      socket?.close()
    },
  }
}
