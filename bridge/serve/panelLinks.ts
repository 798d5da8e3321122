import type { LogLine } from '../../schemas/job'
import { bridgeToPanel, panelToBridge, type StateEvent } from '../../schemas/panelLink'
import { BridgeError } from '../errors/bridgeError'
import { Peer, type Served } from '../rpc/peer'
import type { Accept, Link } from '../rpc/server'
import { panelHandlers, type PanelServices } from './panelHandlers'

type PanelPeer = Peer<typeof panelToBridge, typeof bridgeToPanel>

/** Lines of a log go out together, at most this often. */
const LINES_MS = 50

/** Asked again and again, and change nothing. */
const READS = new Set(['state.snapshot', 'log.read', 'pack.nodes'])

/** The ids of a request or its result. What a panel says is cut: it is written to a file. */
function idsIn(value: unknown): Partial<Record<'pack' | 'env' | 'job' | 'worker', string>> {
  const given = (value ?? {}) as Record<string, unknown>
  return Object.fromEntries(['pack', 'env', 'job', 'worker'].flatMap((name) => (typeof given[name] === 'string' ? [[name, given[name].slice(0, 128)]] : [])))
}

/** The panels: what they may ask, and what they are told. */
export class PanelLinks {
  readonly #peers = new Set<PanelPeer>()
  readonly #lines = new Map<string, LogLine[]>()
  #number = 0

  constructor(private readonly services: PanelServices) {}

  /** Whether anyone looks. */
  get watched(): boolean {
    return this.#peers.size > 0
  }

  /** A viewer (a panel of a ComfyUI that listens beyond this machine) may look and not change. */
  accept(link: Link): Accept {
    const panel = ++this.#number
    const peer: PanelPeer = new Peer(link.send, panelToBridge, bridgeToPanel, panelHandlers(this.services, link.role !== 'viewer'), (served) => this.#note(panel, served))
    this.#peers.add(peer)
    return {
      onMessage: (text) => peer.receive(text),
      onClose: () => {
        this.#peers.delete(peer)
        peer.close(new BridgeError('CONNECTION_LOST', 'The panel has gone.'))
      },
    }
  }

  /** Writes down what a panel asked for, with the ids of what it is about. */
  #note(panel: number, { id, method, params, result, error, ms }: Served): void {
    if (READS.has(method)) return
    const about = { ...idsIn(params), ...idsIn(result) }
    this.services.context.journal.write('panel', { panel, request: id, method: method.slice(0, 60), ...about, ms: Math.round(ms), ...(error && { code: error.code, message: error.message }) })
  }

  tell(event: StateEvent): void {
    this.#peers.forEach((peer) => peer.notify('state.changed', event))
  }

  nodesChanged(pack: string): void {
    this.#peers.forEach((peer) => peer.notify('nodes.changed', { pack }))
  }

  line(log: string, line: LogLine): void {
    const waiting = this.#lines.get(log)
    if (waiting) return void waiting.push(line)
    this.#lines.set(log, [line])
    setTimeout(() => {
      const lines = this.#lines.get(log) ?? []
      this.#lines.delete(log)
      for (let at = 0; at < lines.length; at += 500) {
        this.#peers.forEach((peer) => peer.notify('log.lines', { log, lines: lines.slice(at, at + 500) }))
      }
    }, LINES_MS)
  }
}
