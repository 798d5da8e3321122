import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Isolation } from '../../schemas/pack'
import type { Engine } from '../engine'
import { EnvStore } from '../install/envStore'
import { readSettings } from '../settings'
import { Store } from '../state/store'
import { background } from './background'
import { type Context, newContext } from './context'
import { plainHost } from './hostInfo'
import { IsolationService } from './isolationService'

let base: string
let home: string
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'envmanager-isolation-'))
  home = join(base, 'home')
  for (const pack of ['a', 'b', 'c']) {
    mkdirSync(join(base, 'custom_nodes', pack), { recursive: true })
    writeFileSync(join(base, 'custom_nodes', pack, '__init__.py'), '')
  }
})
afterEach(() => rmSync(base, { recursive: true, force: true }))

const state = (): string => join(home, 'state.json')

/** A bridge's switch, with workers that always start. */
async function bridge(load: () => Promise<null> = async () => null): Promise<{ context: Context; shown: Map<string, Isolation>; service: IsolationService }> {
  const engine = { settings: readSettings({ home, comfyui: base }, {}), envs: new EnvStore(home), fingerprint: { python: {}, platform: {}, gpus: [] } } as unknown as Engine
  const context = await newContext(engine, new Store({ ...plainHostOf(engine) }, () => undefined))
  const shown = new Map<string, Isolation>()
  const packs = { setIsolation: (pack: string, isolation: Isolation) => shown.set(pack, isolation), refresh: async () => undefined }
  const workers = { load, retire: async () => undefined }
  return { context, shown, service: new IsolationService(context, packs as never, workers as never, {} as never, vi.fn<() => void>()) }
}
const plainHostOf = (engine: Engine): ReturnType<typeof plainHost> => ({ home: engine.settings.home, problems: [] }) as unknown as ReturnType<typeof plainHost>

test('two switches at once, and two bridges of one home: no choice is lost', async () => {
  const [one, two] = await Promise.all([bridge(), bridge()])
  await Promise.all([one.service.set('a', true), one.service.setClass('c', 'Node', true), two.service.set('b', true)])
  expect(JSON.parse(readFileSync(state(), 'utf8'))).toEqual({ schema: 1, isolated: ['a', 'b'], classes: { c: { Node: true } } })
})

test('what another bridge chooses for a pack while its worker starts is not lost, also where that start fails', async () => {
  const two = await bridge()
  let wait = Promise.withResolvers<null>()
  const one = await bridge(() => wait.promise)
  const other = async (work: Promise<void>, choose: () => Promise<void>): Promise<void> => {
    await vi.waitFor(() => expect(one.shown.get('c')?.state).toBe('starting'))
    await choose()
    wait.resolve(null)
    await work
    one.shown.clear()
    wait = Promise.withResolvers()
  }
  await other(one.service.setClass('c', 'A', true), () => two.service.setClass('c', 'B', true))
  await other(one.service.set('c', true), () => two.service.setClass('c', 'C', false))
  expect(JSON.parse(readFileSync(state(), 'utf8'))).toEqual({ schema: 1, isolated: ['c'], classes: { c: { A: true, B: true, C: false } } })
  one.context.host = { pack_roots: [join(base, 'custom_nodes')] } as never // then it fails after it was saved: this ComfyUI cannot be told
  const failing = one.service.setClass('c', 'D', true)
  await vi.waitFor(() => expect(one.shown.get('c')?.state).toBe('starting'))
  await two.service.setClass('c', 'E', true)
  wait.resolve(null)
  await expect(failing).rejects.toThrow(/apply/)
  expect(JSON.parse(readFileSync(state(), 'utf8'))).toMatchObject({ classes: { c: { A: true, B: true, C: false, E: true } } })
  expect(readFileSync(state(), 'utf8')).not.toContain('"D"')
})

test('a switch that cannot be saved goes back, and says why', async () => {
  const { context, shown, service } = await bridge()
  await service.set('a', true)
  const before = readFileSync(state(), 'utf8')
  rmSync(state())
  mkdirSync(state())
  await expect(service.set('a', false)).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
  await expect(service.set('b', true)).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
  expect([...context.isolated]).toEqual(['a'])
  for (const pack of ['a', 'b']) expect(shown.get(pack)).toEqual({ state: 'failed', reason: expect.stringContaining('state.json cannot be read') })
  rmSync(state(), { recursive: true })
  writeFileSync(state(), before)
  await service.set('b', true)
  expect(JSON.parse(readFileSync(state(), 'utf8'))).toMatchObject({ isolated: ['a', 'b'] })
})

test('files that cannot be read are problems to show, and keep no bridge from starting', async () => {
  mkdirSync(join(home, 'envs', 'a'), { recursive: true })
  writeFileSync(join(home, 'envs', 'a', 'env.json'), '{')
  writeFileSync(state(), '{"schema": 1, "isol')
  writeFileSync(join(home, 'settings.toml'), 'future_key = 1\n')
  const { context } = await bridge()
  expect(context.problems).toEqual([
    expect.stringMatching(/settings\.toml:1: there is no setting `future_key`/),
    expect.stringMatching(/state\.json cannot be read: it is not JSON/),
    expect.stringMatching(/env\.json cannot be read.*neither used nor deleted/),
  ])
})

test('an environment that could not be exchanged leaves the switch as it was', async () => {
  const { shown, service } = await bridge()
  await service.set('a', true)
  await expect(service.renew('a', () => Promise.reject(new Error('not now')))).rejects.toThrow('not now')
  expect(shown.get('a')).toEqual({ state: 'on' })
})

test('what fails and nobody awaits is shown once, and ends nothing', async () => {
  const { context } = await bridge()
  background(context, 'It is not kept', Promise.reject(new Error('no space')))
  background(context, 'It is not kept', Promise.reject(new Error('no space')))
  await vi.waitFor(() => expect(context.store.host.problems).toEqual(['It is not kept: no space']))
})
