import { compareDotted } from './versions'

/** The interpreter that wheels are chosen for. */
export interface TagTarget {
  /** `3.12` */
  python: string
  freeThreaded: boolean
  /** Platform tag without glibc: win_amd64, linux_x86_64, macosx_14_0_arm64. */
  platform: string
  /** glibc version on Linux; null elsewhere. */
  glibc: string | null
}

const LEGACY: Record<string, string> = { '2.17': 'manylinux2014', '2.12': 'manylinux2010', '2.5': 'manylinux1' }

function linuxPlatforms(arch: string, glibc: string | null): string[] {
  const lowest = arch === 'x86_64' || arch === 'i686' ? 5 : 17
  const newest = glibc === null ? 50 : (Number(glibc.split('.')[1]) || 0)
  const platforms: string[] = []
  for (let minor = newest; minor >= lowest; minor--) {
    platforms.push(`manylinux_2_${minor}_${arch}`)
    const legacy = LEGACY[`2.${minor}`]
    if (legacy && (legacy === 'manylinux2014' || lowest === 5)) platforms.push(`${legacy}_${arch}`)
  }
  return [...platforms, `linux_${arch}`]
}

function macFormats(arch: string, major: number): string[] {
  if (arch === 'arm64') return major >= 11 ? ['arm64', 'universal2'] : ['universal2']
  return ['x86_64', 'intel', 'fat64', 'fat32', 'universal2', 'universal']
}

function macPlatforms(version: string, arch: string): string[] {
  const [major = 11, minorOf10 = 0] = version.split('_').map(Number)
  const platforms: string[] = []
  for (let m = major; m >= 11; m--) for (const format of macFormats(arch, m)) platforms.push(`macosx_${m}_0_${format}`)
  for (let m = major >= 11 ? 16 : minorOf10; m >= 4; m--) {
    for (const format of macFormats(arch, 10)) platforms.push(`macosx_10_${m}_${format}`)
  }
  return platforms
}

/** Platform tags that run on the target, best first (PEP 600 on Linux, pip's own order on macOS). */
export function platformTags(target: Pick<TagTarget, 'platform' | 'glibc'>): string[] {
  const linux = /^linux_(.+)$/.exec(target.platform)
  if (linux?.[1]) return linuxPlatforms(linux[1], target.glibc)
  const mac = /^macosx_(\d+_\d+)_(.+)$/.exec(target.platform)
  if (mac?.[1] && mac[2]) return macPlatforms(mac[1], mac[2])
  return [target.platform]
}

/** Every tag that the target accepts, as `python-abi-platform`, with its rank: 0 is best. Order of `packaging.tags.sys_tags`. */
export function rankedTags(target: TagTarget): Map<string, number> {
  const [, minorText = '0'] = target.python.split('.')
  const minor = Number(minorText)
  const nodot = `3${minor}`
  const abi = `cp${nodot}${target.freeThreaded ? 't' : ''}`
  const platforms = platformTags(target)
  const ranks = new Map<string, number>()
  const add = (tag: string): void => {
    if (!ranks.has(tag)) ranks.set(tag, ranks.size)
  }
  const all = (python: string, withAbi: string): void => platforms.forEach((platform) => add(`${python}-${withAbi}-${platform}`))
  const older = Array.from({ length: Math.max(0, minor - 2) }, (_, i) => minor - 1 - i)
  const stable = [target.freeThreaded ? 'abi3t' : 'abi3'] // PEP 803
  all(`cp${nodot}`, abi)
  stable.forEach((name) => all(`cp${nodot}`, name))
  all(`cp${nodot}`, 'none')
  stable.forEach((name) => older.forEach((old) => all(`cp3${old}`, name)))
  const pure = [`py${nodot}`, 'py3', ...Array.from({ length: minor }, (_, i) => `py3${minor - 1 - i}`)]
  pure.forEach((python) => all(python, 'none'))
  add(`cp${nodot}-none-any`)
  pure.forEach((python) => add(`${python}-none-any`))
  return ranks
}

export interface WheelTags {
  pythonTags: string[]
  abiTags: string[]
  platformTags: string[]
}

/** Best rank of a wheel's tags; null if none fits. */
export function tagRank(tags: WheelTags, ranks: Map<string, number>): number | null {
  let best: number | null = null
  for (const python of tags.pythonTags) {
    for (const abi of tags.abiTags) {
      for (const platform of tags.platformTags) {
        const rank = ranks.get(`${python}-${abi}-${platform}`)
        if (rank !== undefined && (best === null || rank < best)) best = rank
      }
    }
  }
  return best
}

/** Smallest glibc that a wheel's platform tags ask for; null if they ask for none. */
export function requiredGlibc(platforms: string[]): string | null {
  const versions = platforms.flatMap((platform) => {
    const named = /^manylinux_(\d+)_(\d+)_/.exec(platform)
    if (named) return [`${named[1]}.${named[2]}`]
    return Object.entries(LEGACY).flatMap(([version, legacy]) => (platform.startsWith(`${legacy}_`) ? [version] : []))
  })
  return versions.toSorted(compareDotted)[0] ?? null
}

/** The CPU and system of a platform tag, without versions: `manylinux_2_28_x86_64` → `linux_x86_64`. */
export function platformFamily(platform: string): string {
  const linux = /^(?:manylinux\w*?|linux)_(?:\d+_\d+_)?(x86_64|i686|aarch64|armv7l|ppc64le|s390x)$/.exec(platform)
  if (linux) return `linux_${linux[1]}`
  const mac = /^macosx_\d+_\d+_(.+)$/.exec(platform)
  return mac ? `macosx_${mac[1]}` : platform
}
