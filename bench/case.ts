export interface Timing {
  p50: number
  p95: number
}

/** One line of the benchmark. `ratio`: the fastest peer's median over ours. */
export interface Case {
  id: string
  unit: 'ms' | 'µs' | 'MB'
  ours: Timing
  peers: Record<string, Timing>
  floor: Timing | null
  ratio: number | null
  target: string | null
  met: boolean | null
}

/** The median and the 95th percentile. */
export function timing(times: readonly number[]): Timing {
  const ordered = times.toSorted((a, b) => a - b)
  const at = (share: number): number => ordered[Math.floor((ordered.length - 1) * share)] ?? 0
  return { p50: at(0.5), p95: at(0.95) }
}
