import { expect, test } from 'vitest'
import { decide } from './restartPolicy'

const MINUTE = 60_000

test.each([
  ['never crashed', [], 0, { restart: 'now' }],
  ['just crashed: a short pause', [1000], 1000, { restart: 'at', time: 1250 }],
  ['the pause is over', [1000], 1300, { restart: 'now' }],
  ['crashed twice: a longer pause', [1000, 2000], 2000, { restart: 'at', time: 2500 }],
  ['three times in five minutes: no more', [0, 1000, 2000], 10_000, { restart: 'never' }],
  ['three times in sixteen minutes: go on', [0, 8 * MINUTE, 16 * MINUTE], 17 * MINUTE, { restart: 'now' }],
])('%s', (_, crashes, now, expected) => {
  expect(decide(crashes, now)).toEqual(expected)
})
