import type { LoadedPack } from '../../schemas/pack'
import { bridgeToShim, shimToBridge } from '../../schemas/shimLink'
import { BridgeError } from '../errors/bridgeError'
import { Peer, type Handlers } from '../rpc/peer'
import type { Accept, Link } from '../rpc/server'
import type { ApplyInHost } from './isolationService'

export type ShimPeer = Peer<typeof shimToBridge, typeof bridgeToShim>

/** The link to ComfyUI. There is one at a time: a new one replaces an old one that has not noticed its end. */
export class ShimLink {
  #peer: ShimPeer | null = null

  constructor(
    private readonly handlers: Handlers<typeof shimToBridge>,
    private readonly onGone: () => void,
  ) {}

  get peer(): ShimPeer | null {
    return this.#peer
  }

  accept(link: Link): Accept {
    const peer: ShimPeer = new Peer(link.send, shimToBridge, bridgeToShim, this.handlers)
    this.#peer = peer
    return {
      onMessage: (text) => peer.receive(text),
      onClose: () => {
        peer.close(new BridgeError('CONNECTION_LOST', 'ComfyUI has gone.'))
        if (this.#peer !== peer) return
        this.#peer = null
        this.onGone()
      },
    }
  }

  /** Switches a pack in the running ComfyUI. */
  readonly apply: ApplyInHost = async (pack: string, on: boolean, loaded: LoadedPack | null) => {
    if (!this.#peer) throw new BridgeError('CONNECTION_LOST', 'ComfyUI is not connected.')
    return this.#peer.request('isolation.apply', { pack, on, loaded })
  }
}
