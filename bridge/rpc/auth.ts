import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { LINK_ROLES, type LinkRole } from '../../schemas/connection'

export type Admission = { role: LinkRole } | { status: 400 | 401 | 403; why: string }

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

function sameToken(given: string, token: string): boolean {
  return timingSafeEqual(digest(given), digest(token))
}

const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]']

/**
 * Decides on a WebSocket upgrade before anything else is done with it. The bridge's only client is the shim, which is no
 * browser: the Host must be exactly this loopback port, there must be no Origin (a page cannot leave it out), and the token of
 * this start must be in the Authorization header, never in the address.
 */
export function admit(request: IncomingMessage, port: number, token: string): Admission {
  const hosts = request.rawHeaders.filter((_, i) => i % 2 === 0 && request.rawHeaders[i]?.toLowerCase() === 'host')
  const host = request.headers.host ?? ''
  if (hosts.length !== 1) return { status: 400, why: 'exactly one Host is needed' }
  if (!LOOPBACK.some((name) => host === `${name}:${port}`)) return { status: 403, why: 'wrong Host' }
  if (request.headers.origin !== undefined) return { status: 403, why: 'browsers connect through ComfyUI' }
  const given = /^Bearer ([0-9a-f]{64})$/.exec(request.headers.authorization ?? '')?.[1]
  if (!given || !sameToken(given, token)) return { status: 401, why: 'wrong token' }
  const role = LINK_ROLES.find((name) => request.url === `/${name}`)
  return role ? { role } : { status: 400, why: 'no such link' }
}
