import type { z } from 'zod'
import type { LoadedPack } from '../../schemas/pack'
import { bridgeToShim, shimToBridge } from '../../schemas/shimLink'
import { BridgeError } from '../errors/bridgeError'
import { quietly } from '../quietly'
import { Peer, type Handlers } from '../rpc/peer'
import type { Accept, Link } from '../rpc/server'
import type { HostSwitch } from './isolationService'

export type ShimPeer = Peer<typeof shimToBridge, typeof bridgeToShim>

type Notes = typeof bridgeToShim.notifications
/** What must not be lost by a break of the link. Each of these may come twice. */
type Lasting = 'lease.release' | 'worker.gone'

export interface ShimEvents {
  onGone: () => void
  /** The workers' processes that there are. */
  owners: () => string[]
  /** What hearing a notification threw. */
  onFault: (what: string, error: unknown) => void
}

/** ComfyUI's part reads no more at once (`client.py`). */
const LONGEST = 192 << 20

/**
 * The link to ComfyUI. There is one at a time: a new one replaces an old one that has not noticed its end. What it must hear is kept until it
 * certainly has, over every break.
 */
export class ShimLink implements HostSwitch {
  #peer: ShimPeer | null = null
  #kept: (() => void)[] = []
  #checking = false

  constructor(
    private readonly handlers: Omit<Handlers<typeof shimToBridge>, 'link.check'>,
    private readonly events: ShimEvents,
  ) {}

  get peer(): ShimPeer | null {
    return this.#peer
  }

  accept(link: Link): Accept {
    const send = (text: string): void => {
      if (text.length > LONGEST) throw new BridgeError('VALUE_NOT_PORTABLE', `A message of ${text.length >> 20} MiB is too large for ComfyUI.`)
      link.send(text)
    }
    const handlers: Handlers<typeof shimToBridge> = { ...this.handlers, 'link.check': () => ({}) }
    const peer: ShimPeer = new Peer(send, shimToBridge, bridgeToShim, handlers, undefined, this.events.onFault)
    this.#peer?.close(new BridgeError('CONNECTION_LOST', 'ComfyUI has connected anew.'))
    this.#peer = peer
    this.#checking = false
    this.#kept.forEach((tell) => tell())
    peer.notify('workers.alive', { owners: this.events.owners() })
    this.#check(peer)
    return {
      onMessage: (text) => peer.receive(text),
      onClose: () => {
        peer.close(new BridgeError('CONNECTION_LOST', 'ComfyUI has gone.'))
        if (this.#peer !== peer) return
        this.#peer = null
        this.events.onGone()
      },
    }
  }

  /** Tells ComfyUI, now or when it is connected again. */
  tell<N extends Lasting>(name: N, params: z.input<Notes[N]>): void {
    const tell = (): void => this.#peer?.notify(name, params)
    this.#kept.push(tell)
    tell()
    if (this.#peer) this.#check(this.#peer)
  }

  /** Asks whether everything that was told until now has come; it answers in order. */
  #check(peer: ShimPeer): void {
    if (this.#checking || this.#kept.length === 0) return
    this.#checking = true
    const count = this.#kept.length
    const checked = peer.request('link.check', {}).then(() => {
      if (this.#peer !== peer) return
      this.#kept.splice(0, count)
      this.#checking = false
      this.#check(peer)
    })
    quietly('the next link tells it again', checked)
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
