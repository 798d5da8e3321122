import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { FRONTENDS, PYTHON, ROOT } from '../../scripts/devPython.ts'
import { SHARED_CACHE } from '../support/cache.ts'
import { bridgesOf, type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { isAlive, until } from '../support/processes.ts'
import { run } from '../support/prompts.ts'
import { TIMES } from '../support/rounds.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

/** Several ComfyUIs on one home: each has its own bridge, workers and folders; environments, choices and settings are shared. */

const PACK = 'handle-maker'
let index: WheelIndex
let folder: string
let home: string
const hosts: Host[] = []

beforeAll(async () => {
  index = await startWheelIndex(PYTHON)
  folder = mkdtempSync(join(tmpdir(), 'envmanager-two-'))
  home = join(folder, 'home')
  cpSync(join(ROOT, 'e2e', 'packs', PACK), join(folder, PACK), { recursive: true })
  writeFileSync(join(folder, PACK, 'comfyui_env.toml'), '[packages]\nno_deps = ["tinyops==0.4.0"]\n')
  const first = await Host.start()
  await first.panel.install(PACK)
  await first.panel.call('isolation.set', { pack: PACK, on: true })
  await hosts.pop()?.end()
})
afterEach(() => Promise.all(hosts.splice(0).map((host) => host.end())))
afterAll(() => {
  index.close()
  rmSync(folder, { recursive: true, force: true })
})

/** A ComfyUI with folders of its own. */
class Host {
  #seed = 0

  private constructor(
    readonly comfy: Comfy,
    public panel: PanelClient,
  ) {}

  static async start(): Promise<Host> {
    const env = { COMFY_ENV_HOME: home, COMFY_ENV_SOURCES: index.simple, COMFY_ENV_CACHE: SHARED_CACHE, COMFY_ENV_BRIDGE_DEATHS: '100' }
    const comfy = await startComfy({ frontend: FRONTENDS[0], packs: [join(folder, PACK), 'value-host'], env })
    const host = new Host(comfy, await PanelClient.connect(comfy.url))
    hosts.push(host)
    await host.panel.until(({ packs, host: { comfyui } }) => comfyui !== null && packs.some(({ id, reason }) => id === PACK && reason !== 'Being checked.'), PACK)
    return host
  }

  /** Runs a node of the pack that writes into ComfyUI's output folder; in which process of which environment it ran, if in a worker. */
  async use(): Promise<{ said: string; pid: number | null; env: string | null }> {
    rmSync(this.runs, { force: true })
    const { outputs, error } = await run(this.comfy.url, {
      '1': { class_type: 'HandleSeed', inputs: { seed: ++this.#seed } },
      '2': { class_type: 'PreviewAny', inputs: { source: ['1', 0] } },
    })
    if (!existsSync(this.runs)) throw new Error(`nothing was written into its own folder: ${error.exception_message}`)
    const worker = (await this.panel.snapshot()).workers.find(({ packs, pid }) => packs.includes(PACK) && pid !== null)
    return { said: String(outputs['2']?.text?.[0]) === String(this.#seed) ? 'right' : String(outputs['2']?.text?.[0]), pid: worker?.pid ?? null, env: worker?.env ?? null }
  }

  get runs(): string {
    return join(this.comfy.base, 'output', 'runs.log')
  }

  get bridge(): number {
    return bridgesOf(home, this.comfy.process.pid)[0]?.pid ?? 0
  }

  isolated(on: boolean): Promise<unknown> {
    return this.panel.until(({ packs }) => packs.some(({ id, isolation }) => id === PACK && isolation.state === (on ? 'on' : 'off')), `${PACK} to be ${on ? 'on' : 'off'}`, 30_000)
  }

  async end(signal: NodeJS.Signals = 'SIGINT'): Promise<void> {
    this.panel.close()
    await this.comfy.stop(signal)
    this.comfy.remove()
  }
}

test('started in the same second: each runs its own nodes with its own folders; one is killed, the other goes on', async () => {
  for (let round = 0; round < TIMES; round++) {
    const [one, two] = (await Promise.all([Host.start(), Host.start()])) as [Host, Host]
    expect(new Set([one.bridge, two.bridge, 0]).size).toBe(3)
    const [of1, of2] = await Promise.all([one.use(), two.use()])
    expect([of1, of2]).toMatchObject([{ said: 'right', env: PACK }, { said: 'right', env: PACK }])
    expect(of1.pid).not.toBe(of2.pid)
    const left = one.bridge
    await one.end('SIGKILL')
    hosts.splice(hosts.indexOf(one), 1)
    await until('its bridge to end', () => !isAlive(left), 10_000)
    expect((await two.use()).pid).toBe(of2.pid)
    process.kill(two.bridge, 'SIGKILL')
    await until('another bridge', () => two.bridge > 0, 20_000)
    two.panel.close()
    two.panel = await PanelClient.connect(two.comfy.url)
    await two.isolated(true)
    expect((await two.use()).said).toBe('right')
    expect(readdirSync(join(home, 'run')).filter((name) => /^[0-9a-f]{12}$/.test(name))).toHaveLength(1) // that of the killed bridge was removed
    await hosts.pop()?.end()
  }
}, 120_000 * TIMES)

test('what one changes, the other sees: settings, choices, an install, its undoing', async () => {
  const [one, two] = (await Promise.all([Host.start(), Host.start()])) as [Host, Host]
  await one.panel.call('isolation.set', { pack: PACK, on: false })
  await two.isolated(false)
  await one.panel.call('settings.set', { idle_minutes: 77 })
  await two.panel.until(({ host }) => host.settings.idle_minutes === 77, 'the setting', 30_000)
  await one.panel.call('isolation.set', { pack: PACK, on: true })
  await two.isolated(true)
  const before = await two.use()
  const generation = async (): Promise<number | undefined> => (await two.panel.snapshot()).envs.find(({ id }) => id === PACK)?.generation
  const old = await generation()
  await one.panel.install(PACK)
  await two.panel.until(({ envs, workers }) => envs.some(({ id, generation: is }) => id === PACK && is !== old) && workers.some(({ pid, state }) => pid !== null && pid !== before.pid && state.status === 'ready'), 'the new environment', 30_000)
  await two.isolated(true)
  const after = await two.use()
  expect(after).toMatchObject({ said: 'right', env: PACK })
  expect(after.pid).not.toBe(before.pid)
  await one.panel.call('install.undo', { env: PACK })
  await expect.poll(generation, { timeout: 30_000 }).toBe(old)
  await expect.poll(async () => (await two.use()).pid, { timeout: 30_000 }).not.toBe(after.pid)
  expect(JSON.parse(readFileSync(join(home, 'state.json'), 'utf8'))).toMatchObject({ isolated: [PACK] })
})

test('an environment that another ComfyUI’s workers run on is neither deleted nor swept away', async () => {
  const [one, two] = (await Promise.all([Host.start(), Host.start()])) as [Host, Host]
  expect((await two.use()).env).toBe(PACK)
  process.kill(two.bridge, 'SIGSTOP') // it cannot follow
  try {
    const { generation } = JSON.parse(readFileSync(join(home, 'envs', PACK, 'env.json'), 'utf8')) as { generation: number }
    await one.panel.install(PACK)
    await one.panel.install(PACK)
    expect(readdirSync(join(home, 'envs', PACK))).toContain(`gen-${generation}`)
    await one.panel.call('isolation.set', { pack: PACK, on: false })
    await expect(one.panel.call('env.delete', { env: PACK })).rejects.toThrow(/ENV_BUSY.*another ComfyUI/)
  } finally {
    process.kill(two.bridge, 'SIGCONT')
  }
  await two.isolated(false)
  expect(await two.use()).toMatchObject({ said: 'right', pid: null })
})
