import type { z } from 'zod'
import type { LogLine } from '../../schemas/job'
import type { panelToBridge, ShimNotice, StateEvent } from '../../schemas/panelLink'

type Methods = typeof panelToBridge.requests
export type Method = keyof Methods
export type Params<M extends Method> = z.input<Methods[M]['params']>
export type Result<M extends Method> = z.output<Methods[M]['result']>

/** An error answer of the bridge. */
export class CallError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint: string,
  ) {
    super(message)
  }
}

export interface BridgeEvents {
  /** Connected to a bridge that answers: everything known before is old. */
  onOpen: () => void
  onLost: () => void
  onNotice: (notice: ShimNotice['params']) => void
  onState: (event: StateEvent) => void
  onLines: (log: string, lines: LogLine[]) => void
  onNodesChanged: () => void
}

/** The panel's way to the bridge; a live one here, a scripted one in tests. */
export interface Bridge {
  call: <M extends Method>(method: M, params: Params<M>) => Promise<Result<M>>
  close: () => void
}

/** A result, or the error's sentence with what to do about it. */
export type Answer<M extends Method> = { result: Result<M> } | { message: string }

export async function answerOf<M extends Method>(bridge: Bridge, method: M, params: Params<M>): Promise<Answer<M>> {
  try {
    return { result: await bridge.call(method, params) }
  } catch (error) {
    const { message, hint } = error instanceof CallError ? error : { message: String(error), hint: '' }
    return { message: [message, hint].filter(Boolean).join(' ') }
  }
}
