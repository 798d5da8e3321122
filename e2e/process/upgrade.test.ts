/** A home folder of an older version, of a newer one, and no home folder any more. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FRONTENDS, PYTHON } from '../../scripts/devPython.ts'
import { SHARED_CACHE } from '../support/cache.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { sharedMemory } from '../support/processes.ts'
import { run } from '../support/prompts.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'
import { both } from '../support/workflows.ts'

const PACK = 'vintage-tone'

let index: WheelIndex
let base: string
const home = (): string => join(base, 'user', '__envmanager')
const recordPath = (): string => join(home(), 'envs', PACK, 'env.json')

beforeAll(async () => {
  index = await startWheelIndex(PYTHON)
  base = mkdtempSync(join(tmpdir(), 'envmanager-upgrade-'))
})
afterAll(async () => {
  await index.close()
  rmSync(base, { recursive: true, force: true })
})

/** ComfyUI on that base while `work` runs. */
async function during(work: (panel: PanelClient, comfy: Comfy) => Promise<void>, env: Record<string, string> = {}): Promise<void> {
  const comfy = await startComfy({ frontend: FRONTENDS[0], packs: [PACK, 'modern-grain', 'trouble-maker'], base, env: { COMFY_ENV_SOURCES: index.simple, COMFY_ENV_CACHE: SHARED_CACHE, ...env } })
  const panel = await PanelClient.connect(comfy.url)
  try {
    await panel.until(({ packs, host }) => host.comfyui !== null && packs.length === 3 && packs.every(({ reason, isolation }) => reason !== 'Being checked.' && isolation.state !== 'starting'), 'the packs')
    await work(panel, comfy)
  } finally {
    panel.close()
    await comfy.stop()
  }
}

function rewrite(path: string, change: (content: Record<string, unknown>) => Record<string, unknown>): void {
  writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>)))
}

const without = (name: string) => (content: Record<string, unknown>) => Object.fromEntries(Object.entries(content).filter(([key]) => key !== name))

test('what an older version has left is used: environment, undo, isolation', async () => {
  await during(async (panel) => {
    await panel.install(PACK)
    await panel.call('isolation.set', { pack: PACK, on: true })
  })
  rewrite(recordPath(), without('combination'))
  for (const name of readdirSync(join(home(), 'envs', PACK)).filter((each) => each.startsWith('gen-'))) rewrite(join(home(), 'envs', PACK, name, 'envmanager.json'), without('combination'))
  rewrite(join(home(), 'state.json'), without('classes'))
  writeFileSync(join(home(), 'run', 'bridge.json'), JSON.stringify({ protocol: 1, port: 9, token: 'ab'.repeat(32), pid: 1 }))
  rmSync(join(home(), 'classes'), { recursive: true, force: true })
  await during(async (panel, comfy) => {
    const { packs, envs, host } = await panel.snapshot()
    expect(host.problems).toEqual([])
    expect(packs.find(({ id }) => id === PACK)).toMatchObject({ state: 'ready', isolation: { state: 'on' } })
    expect(envs).toMatchObject([{ id: PACK, state: 'ready', combination: null }])
    const { outputs } = await run(comfy.url, both('upgraded'))
    expect(outputs['7']?.text?.[0]).toMatch(/tinyops 0\.4\.0/)
  })
})

test('what a newer version has left is used as far as it is known, kept whole, and that is said', async () => {
  rewrite(recordPath(), (content) => ({ ...content, schema: 2, layout: 'other' }))
  rewrite(join(home(), 'state.json'), (content) => ({ ...content, schema: 9, everything: 'else' }))
  await during(async (panel) => {
    const { host, envs, packs } = await panel.snapshot()
    expect(host.problems.join('\n')).toMatch(/env\.json was written by a newer version: layout is kept and not used/)
    expect(host.problems.join('\n')).toMatch(/state\.json was written by a newer version: everything is kept/)
    expect(envs).toMatchObject([{ id: PACK, state: 'ready' }])
    expect(packs.find(({ id }) => id === PACK)).toMatchObject({ isolation: { state: 'on' } })
    await panel.call('isolation.set', { pack: PACK, on: false })
  })
  expect(JSON.parse(readFileSync(recordPath(), 'utf8'))).toMatchObject({ schema: 2, layout: 'other' })
  expect(JSON.parse(readFileSync(join(home(), 'state.json'), 'utf8'))).toMatchObject({ schema: 9, everything: 'else', isolated: [] })
})

test('what cannot be read is neither used nor written over, and that is said', async () => {
  writeFileSync(recordPath(), '{"schema": 7, "other": true}')
  writeFileSync(join(home(), 'state.json'), '{"schema": 1, "isolated"')
  await during(async (panel) => {
    const { host } = await panel.snapshot()
    expect(host.problems.join('\n')).toMatch(/env\.json cannot be read: a newer version wrote it \(format 7/)
    expect(host.problems.join('\n')).toMatch(/What is isolated is not known.*state\.json cannot be read: it is not JSON/)
    await expect(panel.call('isolation.set', { pack: PACK, on: false })).rejects.toThrow(/state\.json cannot be read/)
  })
  expect(readdirSync(join(home(), 'envs', PACK)).filter((name) => name.startsWith('gen-')).length).toBeGreaterThan(0)
  expect(readFileSync(recordPath(), 'utf8')).toBe('{"schema": 7, "other": true}')
  expect(readFileSync(join(home(), 'state.json'), 'utf8')).toBe('{"schema": 1, "isolated"')
  rmSync(join(home(), 'state.json'))
})

test('when the pack and its home folder are deleted, nothing is left anywhere else', async () => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'envmanager-elsewhere-'))
  const places = ['home', 'tmp', 'config', 'cache', 'data'].map((name) => join(elsewhere, name))
  places.forEach((place) => mkdirSync(place))
  const [ownHome = '', tmp = '', config = '', cache = '', data = ''] = places
  const shared = sharedMemory()
  rmSync(join(home(), 'envs', PACK), { recursive: true, force: true })
  try {
    const env = { HOME: ownHome, TMPDIR: tmp, XDG_CONFIG_HOME: config, XDG_CACHE_HOME: cache, XDG_DATA_HOME: data, COMFY_ENV_CACHE: '' }
    await during(async (panel, comfy) => {
      await panel.install(PACK)
      await panel.call('isolation.set', { pack: PACK, on: true })
      await run(comfy.url, both('uninstalled'))
    }, env)
    rmSync(home(), { recursive: true, force: true })
    rmSync(join(base, 'custom_nodes', 'comfyui-envmanager'), { recursive: true, force: true })
    const left = readdirSync(elsewhere, { recursive: true, encoding: 'utf8' }).filter((name) => !places.includes(join(elsewhere, name)))
    // Python, torch and Node keep caches of their own, with or without us
    expect(left.filter((name) => /envmanager|(^|\/)uv(\/|$)/.test(name))).toEqual([])
    expect(sharedMemory()).toEqual(shared)
    expect(readdirSync(join(base, 'user')).filter((name) => name !== 'default')).toEqual([])
    expect(existsSync(join(base, 'custom_nodes', PACK))).toBe(true)
  } finally {
    rmSync(elsewhere, { recursive: true, force: true })
  }
})
