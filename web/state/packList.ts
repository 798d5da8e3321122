import { PACK_STATES, type PackInfo, type PackState } from '../../schemas/pack'

export const PACK_FILTERS = ['all', 'attention', 'installable', 'isolated', ...PACK_STATES] as const
export type PackFilter = (typeof PACK_FILTERS)[number]
export const PACK_SORTS = ['name', 'state', 'isolated'] as const
export type PackSort = (typeof PACK_SORTS)[number]

/** States in which a click installs something. */
const INSTALLABLE: ReadonlySet<PackState> = new Set(['update', 'missing', 'conflict', 'failed'])
/** States that a user should look at, the worst first. */
const ATTENTION: readonly PackState[] = ['broken', 'gone', 'failed', 'no_wheel', 'conflict', 'missing', 'update']
const ORDER: readonly PackState[] = [...ATTENTION, 'installing', 'unknown', 'ready']

export const isInstallable = ({ state }: PackInfo): boolean => INSTALLABLE.has(state)
export const needsAttention = ({ state }: PackInfo): boolean => ATTENTION.includes(state)
export const isIsolated = ({ isolation, class_isolation }: PackInfo): boolean => isolation.state === 'on' || isolation.state === 'starting' || Object.values(class_isolation).includes(true)

function passes(pack: PackInfo, filter: PackFilter): boolean {
  if (filter === 'all') return true
  if (filter === 'attention') return needsAttention(pack)
  if (filter === 'installable') return isInstallable(pack)
  return filter === 'isolated' ? isIsolated(pack) : pack.state === filter
}

/** A pack is found by its name, what it needs, and its sentence: someone may look for "numpy". */
function matches(pack: PackInfo, words: string[]): boolean {
  const text = [pack.id, pack.reason, ...pack.requirements.map((item) => item.text)].join('\n').toLowerCase()
  return words.every((word) => text.includes(word))
}

const byName = (a: PackInfo, b: PackInfo): number => a.id.localeCompare(b.id, undefined, { sensitivity: 'base', numeric: true })

const COMPARE: Record<PackSort, (a: PackInfo, b: PackInfo) => number> = {
  name: byName,
  state: (a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || byName(a, b),
  isolated: (a, b) => Number(isIsolated(b)) - Number(isIsolated(a)) || byName(a, b),
}

/** The packs to show, in order. */
export function listPacks(packs: readonly PackInfo[], search: string, filter: PackFilter, sort: PackSort): PackInfo[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  return packs.filter((pack) => passes(pack, filter) && matches(pack, words)).toSorted(COMPARE[sort])
}

/** How many packs each filter would show; filters that show none are left out, but for all. */
export function filterCounts(packs: readonly PackInfo[]): [PackFilter, number][] {
  return PACK_FILTERS.map((filter): [PackFilter, number] => [filter, packs.filter((pack) => passes(pack, filter)).length]).filter(([filter, count]) => filter === 'all' || count > 0)
}
