/** How far something is at a time (milliseconds). */
export interface Sample {
  time: number
  done: number
}

/** Only the last seconds count: a connection that has become slow is slow now. */
const WINDOW_MS = 10_000
const ENOUGH_MS = 1000

/** The samples that still count, with a new one. A step back starts anew: another file, or another phase. */
export function addSample(samples: readonly Sample[], next: Sample): Sample[] {
  const last = samples.at(-1)
  if (last && next.done < last.done) return [next]
  return [...samples.filter(({ time }) => next.time - time <= WINDOW_MS), next]
}

/** Units a second over the samples; null while too little is known. */
export function rate(samples: readonly Sample[]): number | null {
  const [first, last] = [samples[0], samples.at(-1)]
  if (!first || !last || last.time - first.time < ENOUGH_MS) return null
  return ((last.done - first.done) * 1000) / (last.time - first.time)
}

/** Seconds until `total` is reached; null while that cannot be told. */
export function secondsLeft(samples: readonly Sample[], total: number | null): number | null {
  const speed = rate(samples)
  const last = samples.at(-1)
  return total === null || !speed || !last ? null : Math.max(0, (total - last.done) / speed)
}
