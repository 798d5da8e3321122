/** How many workers there are, and how long: kept warm, ended when idle, shared by packs. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { fault } from '../support/faults.ts'
import { PanelClient } from '../support/panelClient.ts'
import { isAlive, until } from '../support/processes.ts'
import { run } from '../support/prompts.ts'
import { trouble } from '../support/workflows.ts'

const PACKS = ['fault-maker', 'trouble-maker']

let comfy: Comfy
let panel: PanelClient

/** ComfyUI with both packs isolated from its start. */
async function start(env: Record<string, string>): Promise<void> {
  const base = mkdtempSync(join(tmpdir(), 'envmanager-pools-'))
  mkdirSync(join(base, 'user', '__envmanager'), { recursive: true })
  writeFileSync(join(base, 'user', '__envmanager', 'state.json'), JSON.stringify({ schema: 1, isolated: PACKS }))
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: PACKS, base, env })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.length === 2 && packs.every(({ state }) => state === 'ready'), 'the packs')
}

afterEach(async () => {
  panel.close()
  await comfy.stop()
  comfy.remove()
})

const status = async (pack: string): Promise<string | undefined> => (await panel.snapshot()).workers.find(({ packs }) => packs.includes(pack))?.state.status
const works = async (): Promise<void> => {
  expect((await run(comfy.url, fault('FaultEcho', { number: 5, milliseconds: 0 }))).outputs['3']?.text?.[0]).toBe('number 5')
  expect((await run(comfy.url, trouble('TroubleWhere'))).status).toBe('success')
}

test('an idle worker ends by itself and comes back when it is needed; one that is kept warm stays', async () => {
  await start({ COMFY_ENV_IDLE_MINUTES: '0.02', COMFY_ENV_KEEP_WARM: 'fault-maker' })
  await works()
  const warm = (await panel.snapshot()).workers.find(({ packs }) => packs.includes('fault-maker'))?.pid
  await until('the idle worker to end', async () => (await status('trouble-maker')) === 'stopped', 20_000)
  expect(await status('fault-maker')).toBe('ready')
  expect(isAlive(warm ?? 0)).toBe(true)
  await works()
})

test('a pack that is kept warm has its worker before anybody calls', async () => {
  await start({ COMFY_ENV_KEEP_WARM: 'trouble-maker' })
  await comfy.stop()
  panel.close()
  // what its nodes look like is known from here on, so that nothing but the wish starts a worker
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: PACKS, base: comfy.base, env: { COMFY_ENV_KEEP_WARM: 'trouble-maker' } })
  panel = await PanelClient.connect(comfy.url)
  await until('the warm worker', async () => (await status('trouble-maker')) === 'ready', 20_000)
  expect(await status('fault-maker')).toBeUndefined()
})

test('packs with equal environments share a worker where the user allows it, and both work', async () => {
  await start({ COMFY_ENV_SHARE_WORKERS: 'on' })
  await works()
  const { workers } = await panel.snapshot()
  expect(workers.map(({ packs }) => packs)).toEqual([PACKS])
  process.kill(workers[0]?.pid ?? 0, 'SIGKILL')
  await until('its death to be told', async () => (await status('fault-maker')) === 'crashed')
  await works()
})
