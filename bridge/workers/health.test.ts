import { expect, test } from 'vitest'
import { judgeHealth } from './health'

test.each([
  [0, 0, 'ok'],
  [2000, 0, 'ok'],
  [4000, 0, 'silent'],
  [13_000, 0, 'stuck'],
  [60_000, 100, 'ok'],
  [60_000, 5, 'ok'],
] as const)('silent for %i ms at %i %% of a core: %s', (silent, cpu, health) => expect(judgeHealth(silent, cpu)).toBe(health))
