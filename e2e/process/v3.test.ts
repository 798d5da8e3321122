/** Node classes of ComfyUI's newer kind, isolated. Only a real ComfyUI (COMFYUI_DIR) has them: skipped without one. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { forgetResults, queue, run } from '../support/prompts.ts'

const PACKS = ['newer-nodes', 'value-host']
const real = Boolean(process.env.COMFYUI_DIR)
const basic = (number: number, how: string) => ({
  '1': { class_type: 'NewerBasic', inputs: { number, how } },
  '2': { class_type: 'ValueShow', inputs: { value: ['1', 0] } },
  '3': { class_type: 'ValueShow', inputs: { value: ['1', 1] } },
})
const file = (name: string) => ({ '1': { class_type: 'NewerFiles', inputs: { file: name } }, '2': { class_type: 'ValueShow', inputs: { value: ['1', 0] } } })
const IMAGE = { class_type: 'EmptyImage', inputs: { width: 8, height: 8, batch_size: 1, color: 8_421_504 } }

async function behaves(comfy: Comfy, isolated: 0 | 1): Promise<void> {
  for (const how of ['plain', 'tuple']) {
    const { outputs, error } = await run(comfy.url, basic(4, how))
    expect(error.exception_message).toBeUndefined()
    expect(outputs['2']?.text).toEqual(['int None 5'])
    expect(outputs['3']?.text).toEqual([`str None node 1 of 3 isolated ${isolated}`])
  }
  await expect(queue(comfy.url, basic(13, 'plain'))).rejects.toThrow(/thirteen is not allowed/)
  const twice = await run(comfy.url, { '1': IMAGE, '2': { class_type: 'NewerAsync', inputs: { image: ['1', 0] } }, '3': { class_type: 'PreviewImage', inputs: { images: ['2', 0] } } })
  expect(twice.outputs['2']?.text).toEqual(['(1, 8, 8, 3) True'])
  const blocked = await run(comfy.url, { '1': IMAGE, '2': { class_type: 'NewerBlock', inputs: { image: ['1', 0] } }, '3': { class_type: 'PreviewImage', inputs: { images: ['2', 0] } } })
  expect([blocked.status, blocked.outputs['3']]).toEqual(['success', undefined])
}

const isTaken = ({ url }: Comfy, name: string): Promise<boolean> => queue(url, file(name)).then(() => true, () => false)

/** What the nodes that newer versions have more of say, also when ComfyUI keeps what they gave. */
async function newest({ url }: Comfy): Promise<unknown> {
  const show = (value: string) => ({ class_type: 'ValueShow', inputs: { value: [value, 0] } })
  const prompt = (a: number) => ({ '1': { class_type: 'NewerAll', inputs: { a: 7, more: 'text', pair: 2.5 } }, '2': show('1'), '3': { class_type: 'NewerHidden', inputs: {} }, '4': show('3'), '5': { class_type: 'ValueShow', inputs: { value: a } } })
  const extra = { extra_pnginfo: { mine: [1] }, auth_token_comfy_org: 'token', comfy_usage_source: 'a test' }
  const first = await run(url, prompt(1), extra)
  const again = await run(url, prompt(2), extra)
  return [first.error.exception_message, first.outputs, again.outputs['1']]
}

const infoOf = async (comfy: Comfy): Promise<Record<string, unknown>> => {
  const all = (await (await fetch(`${comfy.url}/api/object_info`)).json()) as Record<string, unknown>
  return Object.fromEntries(Object.entries(all).filter(([name]) => name.startsWith('Newer')))
}

describe.skipIf(!real)('V3 node classes (a real ComfyUI)', () => {
  let comfy: Comfy
  let panel: PanelClient

  beforeAll(async () => {
    comfy = await startComfy({ frontend: FRONTENDS[0], packs: PACKS })
    panel = await PanelClient.connect(comfy.url)
    await panel.until(({ packs }) => packs.some(({ id, state }) => id === 'newer-nodes' && state === 'ready'), 'newer-nodes')
  })

  afterAll(async () => {
    panel.close()
    await comfy.stop()
    comfy.remove()
  })

  test('the switch works both ways on a loaded pack', async () => {
    await behaves(comfy, 0)
    await panel.call('isolation.set', { pack: 'newer-nodes', on: true })
    await forgetResults(comfy.url)
    await behaves(comfy, 1)
    await panel.call('isolation.set', { pack: 'newer-nodes', on: false })
    await forgetResults(comfy.url)
    await behaves(comfy, 0)
    expect((await panel.snapshot()).packs.find(({ id }) => id === 'newer-nodes')?.isolation).toEqual({ state: 'off' })
  })

  test('plain data of ComfyUI’s API is the same wherever it is made and looked at', async () => {
    const set = (more: object): Promise<unknown> => panel.call('isolation.set', { pack: 'newer-nodes', ...more })
    let turn = 0
    const look = async (): Promise<unknown[]> => {
      const { outputs, error } = await run(comfy.url, { '1': { class_type: 'NewerThings', inputs: { turn: ++turn } }, '2': { class_type: 'NewerLook', inputs: { things: ['1', 0], made: ['1', 1] } } })
      expect(error.exception_message).toBeUndefined()
      return outputs['2']?.text ?? []
    }
    const [where, ...inside] = await look()
    await set({ on: true })
    const isolated = await look()
    await set({ class: 'NewerLook', on: false })
    const made = await look()
    await set({ class: 'NewerThings', on: false })
    await set({ class: 'NewerLook', on: true })
    const seen = await look()
    await set({ class: 'NewerThings', on: true })
    await set({ on: false })
    expect([where, isolated, made, seen]).toEqual(['made 0, seen 0', ['made 1, seen 1', ...inside], ['made 1, seen 0', ...inside], ['made 0, seen 1', ...inside]])
  })

  test('a model file that comes while no worker runs can be chosen', async () => {
    const base = mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
    const models = join(base, 'models', 'checkpoints')
    mkdirSync(join(base, 'user', '__envmanager'), { recursive: true })
    mkdirSync(models, { recursive: true })
    writeFileSync(join(models, 'first.safetensors'), '')
    writeFileSync(join(base, 'user', '__envmanager', 'state.json'), JSON.stringify({ schema: 1, isolated: ['newer-nodes'] }))
    const other = await startComfy({ frontend: FRONTENDS[0], packs: PACKS, base })
    const its = await PanelClient.connect(other.url)
    try {
      const { workers } = await its.until(({ packs }) => packs.some(({ id, proxied }) => id === 'newer-nodes' && proxied), 'its classes')
      for (const { id } of workers) await its.call('worker.stop', { worker: id })
      writeFileSync(join(models, 'second.safetensors'), '')
      expect(JSON.stringify(await infoOf(other))).toContain('second.safetensors')
      expect((await run(other.url, file('second.safetensors'))).error.exception_message).toBeUndefined()
      expect(await isTaken(other, 'third.safetensors')).toBe(await isTaken(comfy, 'third.safetensors')) // older versions look at no choice of these nodes
    } finally {
      its.close()
      await other.stop()
      other.remove()
    }
  })

  test('a pack that ComfyUI never imports has the same classes', async () => {
    const base = mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
    mkdirSync(join(base, 'user', '__envmanager'), { recursive: true })
    writeFileSync(join(base, 'user', '__envmanager', 'state.json'), JSON.stringify({ schema: 1, isolated: ['newer-nodes'] }))
    const other = await startComfy({ frontend: FRONTENDS[0], packs: PACKS, base })
    try {
      await expect.poll(() => infoOf(other), { timeout: 60_000 }).toEqual(await infoOf(comfy))
      await behaves(other, 1)
      expect(await newest(other)).toEqual(await newest(comfy))
    } finally {
      await other.stop()
      other.remove()
    }
  })
})
