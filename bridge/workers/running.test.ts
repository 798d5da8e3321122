import { expect, test } from 'vitest'
import { interrupt, type Running } from './running'

test.each([
  ['linux', 'SIGINT'],
  ['win32', 'worker.interrupt'],
] as const)('on %s a node that does not heed a cancel is interrupted by %s', (platform, how) => {
  const asked: string[] = []
  const running = { process: { signal: (name: string) => asked.push(name) }, peer: { notify: (method: string) => asked.push(method) } }
  interrupt(running as unknown as Running, platform)
  expect(asked).toEqual([how])
})
