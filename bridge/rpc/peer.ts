import { z } from 'zod'
import { Envelope, type LinkSide } from '../../schemas/envelope'
import { BridgeError, toWire } from '../errors/bridgeError'

type Requests<S extends LinkSide> = S['requests']
type Params<S extends LinkSide, M extends keyof Requests<S>> = z.output<Requests<S>[M]['params']>
type Result<S extends LinkSide, M extends keyof Requests<S>> = z.output<Requests<S>[M]['result']>
type Note<S extends LinkSide, N extends keyof S['notifications']> = z.output<S['notifications'][N]>

/** What one side of a link answers and hears. Every method of the schemas must be there. */
export type Handlers<S extends LinkSide> = {
  [M in keyof Requests<S>]: (params: Params<S, M>) => Promise<Result<S, M>> | Result<S, M>
} & {
  [N in keyof S['notifications']]: (params: Note<S, N>) => void
}

interface Waiting {
  method: string
  resolve: (value: unknown) => void
  reject: (error: BridgeError) => void
}

/** A request that was answered, for whoever keeps a record. */
export interface Served {
  id: number
  method: string
  params: unknown
  result: unknown
  error: BridgeError | null
  ms: number
}

/**
 * One end of a link. Checks every message by its closed schema, matches answers to requests, and settles every waiting request
 * when the link closes, so that nobody waits for a dead one.
 */
export class Peer<Here extends LinkSide, There extends LinkSide> {
  #next = 1
  #closed: BridgeError | null = null
  readonly #waiting = new Map<number, Waiting>()
  readonly #send: (text: string) => void
  readonly #here: Here
  readonly #handlers: Handlers<Here>

  /** `here` is what this end serves; `_there`, only a type, what the other end does. */
  constructor(
    send: (text: string) => void,
    here: Here,
    _there: There,
    handlers: Handlers<Here>,
    private readonly onServed?: (served: Served) => void,
    /** What hearing a notification threw, or answering a request: the link goes on. */
    private readonly onFault?: (method: string, error: unknown) => void,
  ) {
    this.#send = send
    this.#here = here
    this.#handlers = handlers
  }

  /** Asks the other end. Rejects with its error, or with CONNECTION_LOST when the link closes first. */
  request<M extends keyof Requests<There> & string>(
    method: M,
    params: z.input<Requests<There>[M]['params']>,
  ): Promise<Result<There, M>> {
    if (this.#closed) return Promise.reject(this.#closed)
    const id = this.#next++
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { method, resolve, reject })
      this.#send(JSON.stringify({ id, method, params }))
    }) as Promise<Result<There, M>>
  }

  notify<N extends keyof There['notifications'] & string>(method: N, params: z.input<There['notifications'][N]>): void {
    if (!this.#closed) this.#send(JSON.stringify({ method, params }))
  }

  /** Takes one message of the other end. */
  receive(text: string): void {
    const message = this.#parse(text)
    if (!message) return
    if ('method' in message) {
      const { method } = message
      if ('id' in message) this.#serve(message.id, method, message.params).catch((error: unknown) => this.onFault?.(method, error))
      else this.#hear(message.method, message.params)
      return
    }
    const waiting = this.#waiting.get(message.id)
    this.#waiting.delete(message.id)
    if ('error' in message) waiting?.reject(BridgeError.fromWire(message.error))
    else waiting?.resolve(message.result)
  }

  close(reason: BridgeError): void {
    this.#closed = reason
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    waiting.forEach(({ reject }) => reject(reason))
  }

  #parse(text: string): Envelope | null {
    try {
      return Envelope.parse(JSON.parse(text))
    } catch {
      this.#answer(0, { error: toWire(new BridgeError('BAD_REQUEST', 'A message that cannot be read was dropped.')) })
      return null
    }
  }

  #answer(id: number, body: { result: unknown } | { error: unknown }): void {
    if (!this.#closed) this.#send(JSON.stringify({ id, ...body }))
  }

  async #serve(id: number, method: string, params: unknown): Promise<void> {
    const began = performance.now()
    const told = (result: unknown, error: BridgeError | null): void => this.onServed?.({ id, method, params, result, error, ms: performance.now() - began })
    try {
      const known = Object.hasOwn(this.#here.requests, method) ? this.#here.requests[method] : undefined
      if (!known) throw new BridgeError('BAD_REQUEST', `There is no method \`${method.slice(0, 60)}\`.`)
      const checked = checkParams(known.params, params, method)
      const handler = this.#handlers[method as keyof Handlers<Here>] as (params: unknown) => unknown
      const result = await handler(checked)
      this.#answer(id, { result })
      told(result, null)
    } catch (error) {
      const wire = toWire(error)
      this.#answer(id, { error: wire })
      told(null, BridgeError.fromWire(wire))
    }
  }

  #hear(method: string, params: unknown): void {
    const schema = Object.hasOwn(this.#here.notifications, method) ? this.#here.notifications[method] : undefined
    const checked = schema?.safeParse(params)
    if (!checked?.success) return
    const handler = this.#handlers[method as keyof Handlers<Here>] as (params: unknown) => void
    try {
      handler(checked.data)
    } catch (error) {
      this.onFault?.(method, error)
    }
  }
}

function checkParams(schema: z.ZodType, params: unknown, method: string): unknown {
  const checked = schema.safeParse(params)
  if (checked.success) return checked.data
  const issue = checked.error.issues[0]
  const where = issue?.path.join('.') || 'params'
  throw new BridgeError('BAD_REQUEST', `${method}: ${where}: ${issue?.message ?? 'wrong'}.`)
}
