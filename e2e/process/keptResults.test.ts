import { afterAll, beforeAll, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { startComfy, type Comfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { forgetResults, run } from '../support/prompts.ts'

/** Nodes keep what they return. What they keep must stay what it was, and every later run must get it. */

let comfy: Comfy
let panel: PanelClient

beforeAll(async () => {
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: ['result-keeper', 'value-host'] })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.some(({ id, state }) => id === 'result-keeper' && state === 'ready'), 'result-keeper')
  await panel.call('isolation.set', { pack: 'result-keeper', on: true })
})

afterAll(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
})

const WAYS = ['self', 'lru_cache', 'dict', 'frames', 'closure', 'numpy', 'view', 'memoryview', 'pointer', 'generator', 'weak']

test.each(WAYS)('a result that its node keeps in the way "%s" is what it was, run after run', async (how) => {
  for (let turn = 1; turn <= 6; turn++) {
    await forgetResults(comfy.url)
    const outcome = await run(comfy.url, {
      '1': { class_type: 'KeepResult', inputs: { how, turn } },
      '2': { class_type: 'ValueDigest', inputs: { value: ['1', 0] } },
    })
    expect(outcome.error.exception_message).toBeUndefined()
    expect(`${turn}: ${outcome.outputs['2']?.text?.[0]}`).toBe(`${turn}: [1, 512, 512, 4] 0.25 0.75`)
  }
})
