/** Crash times in milliseconds, oldest first. */
export type Crashes = readonly number[]

const WINDOW_MS = 5 * 60_000
const MOST_IN_WINDOW = 3
const FIRST_DELAY_MS = 250
const LONGEST_DELAY_MS = 30_000

export type Decision = { restart: 'now' } | { restart: 'at'; time: number } | { restart: 'never' }

/** Crashes that still count. */
export function recent(crashes: Crashes, now: number): Crashes {
  return crashes.filter((time) => now - time < WINDOW_MS)
}

/**
 * Whether a crashed worker may start again: at once when it has not crashed lately, after a growing pause when it has, and not by
 * itself after three crashes in five minutes (the rule of VS Code's extension host).
 */
export function decide(crashes: Crashes, now: number): Decision {
  const counted = recent(crashes, now)
  const last = counted.at(-1)
  if (last === undefined) return { restart: 'now' }
  if (counted.length >= MOST_IN_WINDOW) return { restart: 'never' }
  const time = last + Math.min(FIRST_DELAY_MS * 2 ** (counted.length - 1), LONGEST_DELAY_MS)
  return time <= now ? { restart: 'now' } : { restart: 'at', time }
}
