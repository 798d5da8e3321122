import type { LoadedPack } from '../../schemas/pack'
import { bridgeToShim, shimToBridge } from '../../schemas/shimLink'
import { BridgeError } from '../errors/bridgeError'
import { Peer, type Handlers } from '../rpc/peer'
import type { Accept, Link } from '../rpc/server'
import type { HostSwitch } from './isolationService'

export type ShimPeer = Peer<typeof shimToBridge, typeof bridgeToShim>

/** The link to ComfyUI. There is one at a time: a new one replaces an old one that has not noticed its end. */
export class ShimLink implements HostSwitch {
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

  #asked(): ShimPeer {
    if (!this.#peer) throw new BridgeError('CONNECTION_LOST', 'ComfyUI is not connected.')
    return this.#peer
  }

  /** Switches a pack in the running ComfyUI. */
  async apply(pack: string, on: boolean, classes: Record<string, boolean>, loaded: LoadedPack | null): ReturnType<HostSwitch['apply']> {
    return this.#asked().request('isolation.apply', { pack, on, classes, loaded })
  }

  /** The node classes that ComfyUI has of a pack. */
  async nodes(pack: string): ReturnType<HostSwitch['nodes']> {
    return this.#asked().request('pack.nodes', { pack })
  }
}
