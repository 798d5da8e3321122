import { expect, test } from 'vitest'
import { addSample, secondsLeft } from './eta'

const after = (...done: number[]) => done.reduce((samples, value, second) => addSample(samples, { time: second * 1000, done: value }), [] as ReturnType<typeof addSample>)

test('a steady download says how long it still takes', () => {
  expect(secondsLeft(after(0, 10, 20, 30), 100)).toBe(7)
})

test('nothing is said before something is known, and the next file starts anew', () => {
  expect(secondsLeft(after(0), 100)).toBeNull()
  expect(secondsLeft(after(0, 10, 20, 5), 100)).toBeNull()
  expect(secondsLeft(after(0, 10), null)).toBeNull()
})

test('only the last seconds count', () => {
  const slow = [...Array(25).keys()].map((second) => (second < 10 ? second * 100 : 1000 + (second - 10)))
  expect(secondsLeft(after(...slow), 1024)).toBe(10)
})
