import { isSuspect, visible } from '../../schemas/shownText'

/**
 * The same state with every text in it shown as what it is: packs and wheels choose their names, and may choose characters that
 * turn the text around them. Ids hold none by their schemas, so they stay as they are.
 */
export function harmless<T>(value: T): T {
  if (typeof value === 'string') return (isSuspect(value) ? value.replace(/[^\n\t]+/g, visible) : value) as T
  if (Array.isArray(value)) return value.map(harmless) as T
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, harmless(item)])) as T
}
