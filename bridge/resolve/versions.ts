import { compare, explain, satisfies } from '@renovatebot/pep440'

/** Whether `version` is one by PEP 440. */
export function isVersion(version: string): boolean {
  return explain(version) !== null
}

/** Order of two PEP 440 versions; an invalid one comes before every valid one. */
export function compareVersions(a: string, b: string): number {
  const [validA, validB] = [isVersion(a), isVersion(b)]
  if (validA && validB) return compare(a, b)
  return Number(validA) - Number(validB)
}

/** `1.0+cu128` → `1.0`. */
export function publicVersion(version: string): string {
  return version.split('+')[0] ?? version
}

export function isPrerelease(version: string): boolean {
  return explain(version)?.is_prerelease ?? false
}

/**
 * Whether a version meets a specifier. A specifier without a local part looks at the public version only (PEP 440: `==1.0`
 * matches `1.0+anything`). Pre-releases count: CUDA wheels often have nothing else.
 */
export function meets(version: string, specifier: string): boolean {
  return specifier
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean)
    .every((part) => {
      if (part.startsWith('===')) return part.slice(3).trim() === version
      const compared = part.includes('+') ? version : publicVersion(version)
      return isVersion(compared) && satisfies(compared, part, { prereleases: true })
    })
}

/** `2.8.0` → `2.8`; also of a minor alone. */
export function minor(version: string): string {
  return version.split('.').slice(0, 2).join('.')
}

/** Dotted number as numbers, `12.8` → [12, 8]. */
export function numbers(version: string): number[] {
  return version.split('.').map((part) => Number.parseInt(part, 10) || 0)
}

/** Order of two dotted numbers such as driver or CUDA versions, which are no PEP 440 versions. */
export function compareDotted(a: string, b: string): number {
  const [left, right] = [numbers(a), numbers(b)]
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
