import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { InstallPlan } from '../../schemas/env.ts'
import type { EnvOffer, TorchPlan } from '../../schemas/wheel.ts'
import { FRONTENDS, PYTHON } from '../../scripts/devPython.ts'
import { SHARED_CACHE } from '../support/cache.ts'
import { comfyEnv } from '../support/cli.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { run } from '../support/prompts.ts'
import { makeThreeWheelsPack, THREE_WHEELS, threeWheelsSettings } from '../support/threeWheels.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

const SHOWS = `
import os

class ShowVariable:
    INPUT_TYPES = classmethod(lambda cls: {"required": {}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    def run(self):
        return {"ui": {"text": [os.environ.get("TEST_VARIABLE", "not set")]}}

NODE_CLASS_MAPPINGS = {"ShowVariable": ShowVariable}
`

/** A pack in the form of comfy-env 0.4 that asks for an environment variable and for no packages. */
function makePackWithVariables(below: string): string {
  const made = join(below, 'with-variables')
  mkdirSync(join(made, 'nodes'), { recursive: true })
  writeFileSync(join(made, '__init__.py'), SHOWS)
  writeFileSync(join(made, 'nodes', 'comfy-env.toml'), '[env_vars]\nTEST_VARIABLE = "from its config"\n')
  return made
}

let index: WheelIndex
let folder: string
let pack: string
let comfy: Comfy
let panel: PanelClient

const settings = (): Record<string, string> => ({ ...threeWheelsSettings(index), COMFY_ENV_CACHE: SHARED_CACHE })

beforeAll(async () => {
  index = await startWheelIndex(PYTHON, THREE_WHEELS)
  folder = mkdtempSync(join(tmpdir(), 'envmanager-sealed-'))
  pack = makeThreeWheelsPack(folder)
  const variables = makePackWithVariables(folder)
  // the real ComfyUI's requirements would be a gigabyte; which host serves the node does not matter here
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [pack, variables], env: settings(), real: false })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ packs }) => packs.length === 2 && packs.every(({ reason }) => reason !== 'Being checked.'), 'the packs')
})

afterAll(async () => {
  panel.close()
  await comfy.stop()
  comfy.remove()
  await index.close()
  rmSync(folder, { recursive: true, force: true })
})

test('a pack’s environment variables are set in its worker', async () => {
  await panel.call('isolation.set', { pack: 'with-variables', on: true })
  const { outputs } = await run(comfy.url, { '1': { class_type: 'ShowVariable', inputs: {} } })
  expect(outputs['1']?.text).toEqual(['from its config'])
})

test('no wheel fits together here; the finder names the combination for which all three exist', async () => {
  const found = (await panel.snapshot()).packs.find(({ id }) => id === 'three-wheels')
  expect(found).toMatchObject({ state: 'no_wheel' })
  const { offers } = await panel.call<{ offers: EnvOffer[] }>('install.find', { pack: 'three-wheels' })
  expect(offers).toHaveLength(1)
  expect(offers[0]).toMatchObject({ combination: { torch: '2.8.0', cuda: null } })
  expect(offers[0]?.wheels.map(({ filename }) => filename.split('-')[1])).toEqual(['1.0+cputorch2.8', '1.0+cputorch2.8', '1.0+cputorch2.8'])
})

test('that environment is built in one step, and the pack runs in it with its own torch', async () => {
  const [offer] = (await panel.call<{ offers: EnvOffer[] }>('install.find', { pack: 'three-wheels' })).offers
  const choice = { pack: 'three-wheels', combination: offer?.combination }
  const plan = await panel.call<InstallPlan>('install.preview', choice)
  expect(plan).toMatchObject({ kind: 'sealed', torch_changes: false, combination: { torch: '2.8.0' } })
  expect(plan.add.map(({ name }) => name)).toEqual(expect.arrayContaining(['torch', 'tri-knn', 'tri-mesh', 'tri-ray', 'numpy']))
  const { job } = await panel.call<{ job: string }>('install.start', choice)
  await panel.until(({ jobs }) => jobs.some(({ id, state }) => id === job && state.status !== 'running'), 'the job', 120_000)
  const snapshot = await panel.until(({ envs }) => envs.length > 0, 'the environment')
  expect(snapshot.jobs.find(({ id }) => id === job)?.state).toEqual({ status: 'done' })
  expect(snapshot.envs[0]).toMatchObject({ kind: 'sealed', combination: { torch: '2.8.0', cuda: null } })
  await panel.until(({ packs }) => packs.some(({ id, state }) => id === 'three-wheels' && state === 'ready'), 'the pack’s state')
  await panel.call('isolation.set', { pack: 'three-wheels', on: true })
  const { status, outputs } = await run(comfy.url, { '1': { class_type: 'TriWhere', inputs: {} } })
  expect(status).toBe('success')
  expect(outputs['1']?.text?.[0]).toMatch(/^2\.8\.0 cputorch2\.8 cputorch2\.8 cputorch2\.8 .*envs.three-wheels.gen-\d+$/)
})

test('the command line says the same: find, its exit code, and --sealed best', async () => {
  const found = await comfyEnv(['find', '--pack', pack, '--home', join(folder, 'home'), '--json'], { env: settings() })
  expect([found.code, (found.json as { offers: EnvOffer[] }).offers[0]?.combination.torch]).toEqual([0, '2.8.0'])
  const dry = await comfyEnv(['install', '--pack', pack, '--home', join(folder, 'home'), '--sealed', 'best', '--dry-run', '--json'], { env: settings() })
  expect((dry.json as { plan: InstallPlan }).plan).toMatchObject({ kind: 'sealed', combination: { torch: '2.8.0', cuda: null } })
  const overlay = await comfyEnv(['install', '--pack', pack, '--home', join(folder, 'home'), '--dry-run', '--json'], { env: settings() })
  expect(overlay.code).toBe(3)
  const none = await comfyEnv(['find', '--pack', pack, '--home', join(folder, 'home'), '--cuda', '12.8', '--torch', '2.8.0', '--json'], { env: settings() })
  expect([none.code, (none.json as { offers: EnvOffer[] }).offers]).toEqual([3, []])
})

test('the torch planner says what stays and what breaks', async () => {
  const comfyui = join(folder, 'comfyui')
  mkdirSync(join(comfyui, 'custom_nodes', 'three-wheels'), { recursive: true })
  for (const name of ['__init__.py', 'comfyui_env.toml']) writeFileSync(join(comfyui, 'custom_nodes', 'three-wheels', name), name.endsWith('toml') ? '[packages]\nno_deps = ["tri_mesh", "tri_ray"]\n' : '')
  const plan = await comfyEnv(['torch', '2.10.0', '--comfyui', comfyui, '--home', join(folder, 'home'), '--json'], { env: settings() })
  expect(plan.code).toBe(0)
  const { from, to, packages } = plan.json as TorchPlan
  expect([from?.torch, to]).toEqual(['2.13.0', { python: expect.stringMatching(/^3\.\d+$/), torch: '2.10.0', cuda: null }])
  expect(packages.filter(({ used_by }) => used_by === 'three-wheels').map(({ name, verdict }) => [name, verdict])).toEqual([
    ['tri-mesh', 'breaks'],
    ['tri-ray', 'rebuild'],
  ])
})

test('an install goes on after ComfyUI was killed in the middle of it', async () => {
  const base = mkdtempSync(join(tmpdir(), 'envmanager-resume-'))
  const env = { ...settings(), COMFY_ENV_CACHE: join(folder, 'resume-cache') }
  const slow = '/files/tri_knn-1.0+cputorch2.8'
  let answered = false
  index.fail(slow, (response) => void ((answered = true), response.writeHead(200, { 'content-length': 1_000_000 }).write('PK\u0003\u0004')))
  const options = { frontend: FRONTENDS[0], packs: [pack], base, env, real: false }
  const first = await startComfy(options)
  try {
    const before = await PanelClient.connect(first.url)
    await before.until(({ packs }) => packs.some(({ reason }) => reason !== 'Being checked.'), 'the pack')
    const { offers } = await before.call<{ offers: EnvOffer[] }>('install.find', { pack: 'three-wheels' })
    const { job } = await before.call<{ job: string }>('install.start', { pack: 'three-wheels', combination: offers[0]?.combination })
    await before.until(() => answered, 'the download')
    await first.stop('SIGKILL')
    before.close()
    index.mend(slow)
    const second = await startComfy(options)
    try {
      const after = await PanelClient.connect(second.url)
      const { jobs } = await after.until((snapshot) => snapshot.jobs.some(({ id, state }) => id === job && state.status !== 'running'), 'the job')
      expect(jobs.find(({ id }) => id === job)?.state).toEqual({ status: 'done' })
      after.close()
    } finally {
      await second.stop()
    }
  } finally {
    index.mend(slow)
    rmSync(base, { recursive: true, force: true })
  }
})
