import { createHash } from 'node:crypto'

/**
 * The name of a pack's files, without its ending: the pack's own where that is safe everywhere, else a hash of it. `python_shim/shim/saved.py` makes
 * the same.
 */
export function packFile(pack: string): string {
  const isPlain = /^(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))[a-z0-9_][a-z0-9_.-]{0,99}$/i.test(pack)
  return isPlain ? pack : `~${createHash('sha256').update(Buffer.from(pack, 'utf16le')).digest('hex').slice(0, 32)}`
}
