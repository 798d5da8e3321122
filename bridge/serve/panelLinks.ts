import type { LogLine } from '../../schemas/job'
import { bridgeToPanel, panelToBridge, type StateEvent } from '../../schemas/panelLink'
import { BridgeError } from '../errors/bridgeError'
import { Peer } from '../rpc/peer'
import type { Accept, Link } from '../rpc/server'
import { panelHandlers, type PanelServices } from './panelHandlers'

type PanelPeer = Peer<typeof panelToBridge, typeof bridgeToPanel>

/** Lines of a log go out together, at most this often. */
const LINES_MS = 50

/** The panels: what they may ask, and what they are told. */
export class PanelLinks {
  readonly #peers = new Set<PanelPeer>()
  readonly #lines = new Map<string, LogLine[]>()

  constructor(private readonly services: PanelServices) {}

  /** Whether anyone looks. */
  get watched(): boolean {
    return this.#peers.size > 0
  }

  /** A viewer (a panel of a ComfyUI that listens beyond this machine) may look and not change. */
  accept(link: Link): Accept {
    const peer: PanelPeer = new Peer(link.send, panelToBridge, bridgeToPanel, panelHandlers(this.services, link.role !== 'viewer'))
    this.#peers.add(peer)
    return {
      onMessage: (text) => peer.receive(text),
      onClose: () => {
        this.#peers.delete(peer)
        peer.close(new BridgeError('CONNECTION_LOST', 'The panel has gone.'))
      },
    }
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
