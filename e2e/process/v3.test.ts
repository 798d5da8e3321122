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

  test('a pack that ComfyUI never imports has the same classes', async () => {
    const base = mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
    mkdirSync(join(base, 'user', '__envmanager'), { recursive: true })
    writeFileSync(join(base, 'user', '__envmanager', 'state.json'), JSON.stringify({ schema: 1, isolated: ['newer-nodes'] }))
    const other = await startComfy({ frontend: FRONTENDS[0], packs: PACKS, base })
    try {
      expect(await infoOf(other)).toEqual(await infoOf(comfy))
      await behaves(other, 1)
    } finally {
      await other.stop()
      other.remove()
    }
  })
})
