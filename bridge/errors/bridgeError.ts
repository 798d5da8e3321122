import type { ErrorCode, RemoteException, WireError } from '../../schemas/errors'
import { CATALOGUE } from './catalogue'
import { fileFault } from './systemError'

interface Extra {
  hint?: string
  details?: Record<string, unknown>
  exception?: RemoteException
  cause?: unknown
}

/** An error that a user can meet: a code, one sentence that says what and where, and a hint that says what to do. */
export class BridgeError extends Error {
  readonly code: ErrorCode
  readonly hint: string
  readonly details: Record<string, unknown> | undefined
  readonly exception: RemoteException | undefined

  constructor(code: ErrorCode, message: string, extra: Extra = {}) {
    super(message, { cause: extra.cause })
    this.name = 'BridgeError'
    this.code = code
    this.hint = extra.hint ?? CATALOGUE[code].hint
    this.details = extra.details
    this.exception = extra.exception
  }

  static fromWire(wire: WireError): BridgeError {
    const { code, message, hint, details, exception } = wire
    return new BridgeError(code, message, { hint, ...(details && { details }), ...(exception && { exception }) })
  }
}

/** Any thrown thing as it travels: what the file system has refused, too. Anything else that is not ours is a fault of ours, and says so. */
export function toWire(thrown: unknown): WireError {
  if (thrown instanceof BridgeError) {
    const { code, message, hint, details, exception } = thrown
    return { code, message, hint, ...(details && { details }), ...(exception && { exception }) }
  }
  const fault = fileFault(thrown)
  if (fault) return { ...fault, hint: CATALOGUE[fault.code].hint }
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return { code: 'INTERNAL', message, hint: CATALOGUE.INTERNAL.hint }
}
