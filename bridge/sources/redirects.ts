import { BlockList, isIP } from 'node:net'

/** Publishers move files between hosts of their own; more hops than this lead nowhere. */
export const MOST_REDIRECTS = 5

/** Addresses of this computer and of networks behind it: RFC 1918, 3927, 4193, 4291, 6598, 6890. */
const PRIVATE = new BlockList()
for (const [net, bits] of [['0.0.0.0', 8], ['10.0.0.0', 8], ['100.64.0.0', 10], ['127.0.0.0', 8], ['169.254.0.0', 16], ['172.16.0.0', 12], ['192.0.0.0', 24], ['192.168.0.0', 16], ['198.18.0.0', 15], ['224.0.0.0', 3]] as const) PRIVATE.addSubnet(net, bits, 'ipv4')
for (const [net, bits] of [['::', 127], ['fc00::', 7], ['fe80::', 10], ['ff00::', 8]] as const) PRIVATE.addSubnet(net, bits, 'ipv6')

/** Whether a host, as `URL` writes it, is this computer or one of a private network. A name is not looked up. */
export function isPrivate(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
  const family = isIP(host)
  if (family === 4) return PRIVATE.check(host, 'ipv4')
  if (family === 6) return PRIVATE.check(host, 'ipv6')
  return host === 'localhost' || /\.(localhost|local|internal|lan|home\.arpa)$/.test(host) || !host.includes('.')
}

/** Why a redirect is not followed; null: it is. A public address leads to no private one, and one over https to none without. */
export function redirectProblem(from: URL, to: URL): string | null {
  if (to.protocol !== 'https:' && to.protocol !== 'http:') return `to ${to.protocol}`
  if (from.protocol === 'https:' && to.protocol !== 'https:') return 'from https to http'
  if (!isPrivate(from.hostname) && isPrivate(to.hostname)) return 'into a private network'
  return null
}
