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
