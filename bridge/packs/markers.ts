import type { Fingerprint } from '../../schemas/host'
import { valueOf } from '../../schemas/byName'
import { compareVersions, isVersion, meets, minor } from '../resolve/versions'

/** Environment of PEP 508 markers, from the fingerprint. */
function environment({ python, platform }: Fingerprint): Record<string, string> {
  const system = { linux: 'Linux', windows: 'Windows', darwin: 'Darwin' }[platform.os]
  return {
    python_version: minor(python.version),
    python_full_version: python.version,
    os_name: platform.os === 'windows' ? 'nt' : 'posix',
    sys_platform: { linux: 'linux', windows: 'win32', darwin: 'darwin' }[platform.os],
    platform_system: system,
    platform_machine: platform.arch,
    platform_python_implementation: 'CPython',
    implementation_name: 'cpython',
    extra: '',
  }
}

const TOKEN = /\s*(?:(\(|\))|(===|==|!=|<=|>=|~=|<|>)|("[^"]*"|'[^']*')|([a-z_.]+))/gy

function compare(left: string, operator: string, right: string): boolean {
  if (operator === 'in') return right.includes(left)
  if (operator === 'not in') return !right.includes(left)
  if (isVersion(left) && isVersion(right)) return meets(left, `${operator}${right}`)
  const order = compareVersions(left, right) || left.localeCompare(right)
  const outcomes: Record<string, boolean> = { '==': left === right, '===': left === right, '!=': left !== right }
  return outcomes[operator] ?? { '<': order < 0, '>': order > 0, '<=': order <= 0, '>=': order >= 0 }[operator] ?? false
}

/**
 * Whether a PEP 508 marker holds on the machine. One that cannot be read counts as true: uv has the last word, and a
 * requirement shown once too often is better than one hidden.
 */
export function markerHolds(marker: string | null, fingerprint: Fingerprint): boolean {
  if (!marker) return true
  const tokens = [...marker.matchAll(TOKEN)].map(([text]) => text.trim())
  const values = environment(fingerprint)
  let at = 0
  const operand = (): string => {
    const token = tokens[at++] ?? ''
    return /^["']/.test(token) ? token.slice(1, -1) : (valueOf(values, token) ?? '')
  }
  const term = (): boolean => {
    if (tokens[at] === '(') {
      at++
      const inner = either()
      at++
      return inner
    }
    const left = operand()
    let operator = tokens[at++] ?? ''
    if (operator === 'not') operator = `not ${tokens[at++] ?? ''}`
    return compare(left, operator, operand())
  }
  const both = (): boolean => {
    let result = term()
    while (tokens[at] === 'and') {
      at++
      result = term() && result
    }
    return result
  }
  const either = (): boolean => {
    let result = both()
    while (tokens[at] === 'or') {
      at++
      result = both() || result
    }
    return result
  }
  return tokens.length < 3 || either()
}
