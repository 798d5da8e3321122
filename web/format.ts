/** Bytes for people: 17 MB. */
export function bytes(count: number): string {
  if (count < 1000) return `${Math.round(count)} B`
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

/** Memory for people, in the binary units that graphics cards are sold by: 24 GiB. */
export function memory(count: number): string {
  const mebibytes = count / 1024 ** 2
  if (mebibytes < 1024) return `${Math.round(mebibytes)} MiB`
  const gibibytes = mebibytes / 1024
  return `${gibibytes.toFixed(gibibytes < 10 ? 1 : 0)} GiB`
}

/** Day and time of day; the day is left out if it is today. */
export function moment(time: number): string {
  const day = new Date(time).toLocaleDateString()
  return day === new Date().toLocaleDateString() ? clock(time) : `${day} ${clock(time)}`
}

/** A length of time: 0.42 s, 7 s, 3 min 20 s, 2 h 5 min. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${seconds.toFixed(2)} s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return `${minutes} min${whole % 60 ? ` ${whole % 60} s` : ''}`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
