import { createHash } from 'node:crypto'

const plainOf = (pack: string, longest: number): string => pack.toLowerCase().replace(/[^a-z0-9_-]+/g, '-').replace(/^[^a-z0-9]+/, '').slice(0, longest)

const hashOf = (pack: string, digits: number): string => createHash('sha256').update(pack).digest('hex').slice(0, digits)

/** The ends of names that we make ourselves: of ids with digits of a hash, and of processes that packs share. */
const OURS = /(-[0-9a-f]{6}|-[0-9a-f]{16}|-shared)$/

/** A pack's env id: its name, or its name in small letters with digits of its hash where that loses something or is how another pack's may end. No two packs have one. */
export function envIdOf(pack: string): string {
  const plain = plainOf(pack, 48)
  if (plain === pack && plain && !OURS.test(plain)) return plain
  return `${plainOf(pack, 40) || 'pack'}-${hashOf(pack, 16)}`
}

/** What earlier versions called it: two packs could have one. */
export function olderEnvIdOf(pack: string): string {
  const plain = plainOf(pack, 48)
  return plain === pack && plain ? plain : `${plain || 'pack'}-${hashOf(pack, 6)}`
}
