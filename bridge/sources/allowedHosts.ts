import { BridgeError } from '../errors/bridgeError'

/**
 * Hosts that publish wheels for ComfyUI packs. A pack says *what* it needs; *where*
 * from is checked against this list. `*.` stands for one label.
 */
const KNOWN = [
  'github.com',
  'objects.githubusercontent.com',
  'release-assets.githubusercontent.com',
  '*.github.io',
  'huggingface.co',
  'download.pytorch.org',
  'download-r2.pytorch.org',
  'data.pyg.org',
  'dl.fbaipublicfiles.com',
  'nvidia-kaolin.s3.us-east-2.amazonaws.com',
  'docs.gsplat.studio',
  'whl.natten.org',
  'download.openmmlab.com',
  'repo.radeon.com',
]

function matches(host: string, pattern: string): boolean {
  if (!pattern.startsWith('*.')) return host === pattern
  return host.endsWith(pattern.slice(1)) && !host.slice(0, -pattern.length + 1).includes('.')
}

/** Whether a pack may have files from an address: a known publisher over https, or a host that the user has allowed. */
export function isAllowedHost(address: string, allowed: readonly string[]): boolean {
  const url = URL.parse(address)
  if (!url) return false
  return (url.protocol === 'https:' && KNOWN.some((pattern) => matches(url.hostname, pattern))) || allowed.includes(url.host)
}

/** Refuses an address that a pack names, unless its host is known or the user has allowed it (`host` or `host:port`). */
export function checkHost(address: string, askedBy: string, allowed: readonly string[]): void {
  const url = URL.parse(address)
  if (!url) throw new BridgeError('CONFIG_INVALID', `${askedBy} names \`${address}\`, which is no address.`)
  if (isAllowedHost(address, allowed)) return
  throw new BridgeError('HOST_NOT_ALLOWED', `${askedBy} wants wheels from ${url.host}, which is not a known publisher.`, {
    hint: `If you trust it, add ${url.host} to COMFY_ENV_ALLOW_HOSTS.`,
    details: { host: url.host, asked_by: askedBy },
  })
}
