import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import type { Snapshot } from '../../schemas/panelLink'
import { serveText } from '../rpc/server'
import { metricsText } from './metrics'

const snapshot = {
  host: { version: '0.1.0', comfyui: '0.3.64' },
  packs: [{ state: 'ready', isolation: { state: 'on' } }, { state: 'no_wheel', isolation: { state: 'off' } }],
  envs: [{ id: 'a', bytes: 5 }],
  jobs: [{ state: { status: 'failed' } }],
  workers: [{ id: 'a#1', pid: 7, calls: 3, restarts: 1, health: 'stuck', usage: { cpu_percent: 2, memory_bytes: 100, vram_bytes: null } }],
} as unknown as Snapshot

const freePort = (): Promise<number> =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => done(port))
    })
  })

test('the state as Prometheus reads it; what is not known is left out', () => {
  const text = metricsText(snapshot)
  expect(text).toContain('comfy_env_packs{state="no_wheel"} 1\n')
  expect(text).toContain('comfy_env_worker_stuck{worker="a#1"} 1\n')
  expect(text).toContain('comfy_env_worker_calls_total{worker="a#1"} 3\n')
  expect(text).not.toContain('comfy_env_worker_vram_bytes{')
  for (const line of text.trim().split('\n')) expect(line).toMatch(/^(# (HELP|TYPE) comfy_env_\w+ .+|comfy_env_\w+(\{(\w+="[^"]*",?)*\})? -?\d+(\.\d+)?)$/)
})

test('it is served to programs of this computer, and to no page', async () => {
  const port = await freePort()
  const close = await serveText(port, () => 'x 1\n')
  const status = async (headers: Record<string, string>, path = '/metrics'): Promise<number> => (await fetch(`http://127.0.0.1:${port}${path}`, { headers })).status
  try {
    expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).toBe('x 1\n')
    expect(await status({ origin: 'http://evil.example' })).toBe(403)
    expect(await status({}, '/')).toBe(404)
  } finally {
    await close()
  }
})
