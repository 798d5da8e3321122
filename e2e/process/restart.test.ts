import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FRONTENDS, PYTHON } from '../../scripts/devPython.ts'
import { SHARED_CACHE } from '../support/cache.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { finished, queue, run } from '../support/prompts.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'
import { both, trouble } from '../support/workflows.ts'

const PACKS = ['trouble-maker', 'vintage-tone', 'modern-grain']

let index: WheelIndex
let base: string
let comfy: Comfy
let panel: PanelClient

async function start(): Promise<void> {
  const env = { COMFY_ENV_SOURCES: index.simple, COMFY_ENV_CACHE: SHARED_CACHE }
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: PACKS, base, env })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs, host }) => host.comfyui !== null && packs.length === PACKS.length && packs.every(({ loaded, reason }) => loaded !== 'no' && reason !== 'Being checked.'), 'the packs')
}

async function stop(): Promise<void> {
  panel.close()
  await comfy.stop()
}

const nodeClasses = async (): Promise<Record<string, { python_module: string }>> =>
  (await (await fetch(`${comfy.url}/api/object_info`)).json()) as Record<string, { python_module: string }>

beforeAll(async () => {
  index = await startWheelIndex(PYTHON)
  base = mkdtempSync(join(tmpdir(), 'envmanager-restart-'))
  await start()
})

afterAll(async () => {
  await stop()
  await index.close()
  rmSync(base, { recursive: true, force: true })
})

test('isolation outlives a restart, and then ComfyUI never imports the pack', async () => {
  await panel.install('vintage-tone')
  await panel.call('isolation.set', { pack: 'vintage-tone', on: true })
  await panel.call('isolation.set', { pack: 'trouble-maker', on: true })
  const before = await nodeClasses()
  await stop()
  await start()
  const after = await nodeClasses()
  expect(Object.keys(after).toSorted()).toEqual(Object.keys(before).toSorted())
  expect(after.VintageTone).toEqual(before.VintageTone)
  expect(comfy.output()).not.toMatch(/Cannot import .*vintage-tone/)
  const { outputs, status } = await run(comfy.url, both('restarted'))
  expect(status).toBe('success')
  expect(outputs['7']?.text?.[0]).toMatch(/tinyops 0\.4\.0/)
  expect((await run(comfy.url, trouble('TroubleWhere'))).outputs['3']?.text?.[0]).toMatch(/isolated 1$/)
})

test('a pack that was never read in its worker is read when ComfyUI has started', async () => {
  await stop()
  rmSync(join(comfy.home, 'classes'), { recursive: true })
  await start()
  await expect.poll(nodeClasses, { timeout: 60_000 }).toMatchObject({ VintageTone: {}, TroubleWhere: {} })
})

test('switched off, a pack that ComfyUI did not import is imported there, without a restart', async () => {
  await panel.call('isolation.set', { pack: 'trouble-maker', on: false })
  expect((await run(comfy.url, trouble('TroubleWhere'))).outputs['3']?.text?.[0]).toMatch(new RegExp(`^pid ${comfy.process.pid} call 1 isolated 0$`))
})

test('undo brings the environment before, without network', async () => {
  await panel.install('vintage-tone')
  const { envs } = await panel.snapshot()
  expect(envs.find(({ id }) => id === 'vintage-tone')?.generation).toBe(2)
  await index.close()
  await panel.call('install.undo', { env: 'vintage-tone' })
  expect((await panel.snapshot()).envs.find(({ id }) => id === 'vintage-tone')?.generation).toBe(1)
  const { outputs } = await run(comfy.url, both('undone'))
  expect(outputs['7']?.text?.[0]).toMatch(/tinyops 0\.4\.0/)
  index = await startWheelIndex(PYTHON)
})

test('an install leaves a running call alone: it ends on the environment it began on', async () => {
  await panel.install('modern-grain')
  await panel.call('isolation.set', { pack: 'modern-grain', on: true })
  const slow = { class_type: 'SlowSteps', inputs: { image: ['1', 0], steps: 60, milliseconds: 50 } }
  const prompt = await queue(comfy.url, { ...trouble('TroubleSleep'), '2': slow })
  await panel.until(({ workers }) => workers.some(({ id, state }) => id === 'modern-grain#1' && state.status === 'busy'), 'the call')
  const before = (await panel.snapshot()).workers.find(({ id }) => id === 'modern-grain#1')?.pid
  await panel.install('modern-grain')
  expect(await finished(comfy.url, prompt)).toMatchObject({ status: 'success', error: {} })
  const renewed = await panel.until(({ workers }) => workers.some(({ id, pid, state }) => id === 'modern-grain#1' && pid !== before && state.status === 'ready'), 'the new worker')
  expect(renewed.envs.find(({ id }) => id === 'modern-grain')?.generation).toBe(2)
})

test('a pack with a fault in its config is broken, with the place, and the others are as before', async () => {
  writeFileSync(join(base, 'custom_nodes', 'modern-grain', 'comfyui_env.toml'), '[env\n')
  await panel.call('packs.rescan', {})
  const { packs } = await panel.snapshot()
  expect(packs.find(({ id }) => id === 'modern-grain')).toMatchObject({ state: 'broken', reason: expect.stringMatching(/comfyui_env\.toml:1:\d+: /) })
  expect(packs.find(({ id }) => id === 'vintage-tone')?.state).toBe('ready')
})
