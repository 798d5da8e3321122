/** Bytes for people: 17.4 MB. */
export function bytes(count: number): string {
  if (count < 1000) return `${count} B`
  const units = ['kB', 'MB', 'GB', 'TB']
  let value = count
  let unit = 'B'
  for (const next of units) {
    if (value < 1000) break
    value /= 1000
    unit = next
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`
}

/** Time of day, 14:03:07. */
export const clock = (time: number): string => new Date(time).toLocaleTimeString([], { hour12: false })
