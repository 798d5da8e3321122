import { expect, test } from 'vitest'
import { cpuOf, memoryOf, parseVram, psSeconds, UsageMeter } from './usage'

test('CPU and memory as Linux writes them, whatever the process is called', () => {
  expect(cpuOf('42 (py (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 5 0 1 1 1')).toBe(2)
  expect(memoryOf('Name:\tpython\nVmPeak:\t  10 kB\nVmRSS:\t  2048 kB\n')).toBe(2048 * 1024)
})

test('CPU time as ps writes it', () => {
  expect(psSeconds('1:02.50')).toBe(62.5)
  expect(psSeconds('1-00:00:01')).toBe(86_401)
})

test('GPU memory by process, several GPUs added up, and none where the driver does not tell', () => {
  expect(parseVram('10, 512\n11, 1024\n10, 256\n')).toEqual(new Map([[10, 768 * 1024 ** 2], [11, 1024 ** 3]]))
  expect(parseVram('10, [N/A]\n')).toEqual(new Map())
})

test.runIf(process.platform === 'linux')('a busy process is seen to be busy', async () => {
  const meter = new UsageMeter()
  await meter.measure(process.pid, null)
  const until = performance.now() + 300
  while (performance.now() < until) JSON.stringify(process.memoryUsage())
  const usage = await meter.measure(process.pid, new Map([[process.pid, 5]]))
  expect(usage?.cpu_percent).toBeGreaterThan(20)
  expect(usage?.memory_bytes).toBeGreaterThan(1e7)
  expect(usage?.vram_bytes).toBe(5)
})

test('a process that has gone has no usage', async () => {
  expect(await new UsageMeter().measure(2 ** 22 + 1, null)).toBeNull()
})
