import { z } from 'zod'
import { WireError } from './errors'

/** Raised when a message changes its meaning. Both ends say theirs in the handshake and refuse another. */
export const PROTOCOL_VERSION = 2

const Id = z.number().int().nonnegative()

/** JSON-RPC 2.0 without its `jsonrpc` field: a request has both `id` and `method`, a notification only `method`. */
export const Envelope = z.union([
  z.strictObject({ id: Id, method: z.string(), params: z.unknown().optional() }),
  z.strictObject({ method: z.string(), params: z.unknown().optional() }),
  z.strictObject({ id: Id, result: z.unknown() }),
  z.strictObject({ id: Id, error: WireError }),
])
export type Envelope = z.infer<typeof Envelope>

/** One direction of a link: what may be asked, and what may be told without an answer. */
export interface LinkSide {
  requests: Record<string, { params: z.ZodType; result: z.ZodType }>
  notifications: Record<string, z.ZodType>
}
