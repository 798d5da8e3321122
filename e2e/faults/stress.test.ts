import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parse } from 'smol-toml'
import { expect, test } from 'vitest'
import { PYTHON } from '../../scripts/devPython.ts'
import { BareBridge } from '../support/bareBridge.ts'
import { type RunningCli, startComfyEnv } from '../support/cli.ts'
import { figure } from '../support/faults.ts'
import { LOCAL, makeNeedyPack } from '../support/installs.ts'
import { canHaveMishaps, Mishaps } from '../support/mishaps.ts'
import { until } from '../support/processes.ts'
import { random } from '../support/random.ts'
import { treeHash } from '../support/trees.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

/** How long, and by which numbers: `STRESS_SECONDS=600 STRESS_SEED=7 npm run faults`. */
const SECONDS = Number(process.env.STRESS_SECONDS ?? 45)
const SEED = Number(process.env.STRESS_SEED ?? 1)
const PACKS = ['one', 'two', 'three', 'four', 'five']
const PARTS = 20
const WHEELS = ['1.0', '2.0'].flatMap((version) => [{ name: 'ops', version, ...LOCAL, files: PARTS }, { name: 'plainly', version, files: PARTS }])
/** What a bridge or command may say here that is no fault of ours. */
const EXPECTED = /^(ENV_BUSY|UNKNOWN_ENV|ENV_BROKEN|CANCELLED|LOST|DISK_FULL|FILE_UNREADABLE|FILE_UNWRITABLE|VERIFY_FAILED|UV_FAILED|WORKER_START_FAILED|WORKER_DIED|WORKER_CRASH_LOOP|PACK_IMPORT_FAILED|DOWNLOAD_FAILED|WHEEL_INVALID|NOT_A_WHEEL|HASH_MISMATCH|CONFIG_SYNTAX|PYTHON_NOT_FOUND|SOURCE_UNREACHABLE)$/

/** Everything of one run: a home, five packs, two bridges, commands, and what was acknowledged. */
class Stress {
  readonly base = mkdtempSync(join(tmpdir(), 'envmanager-stress-'))
  readonly home = join(this.base, 'home')
  readonly comfyui = join(this.base, 'ComfyUI')
  readonly random = random(SEED)
  readonly mishaps = new Mishaps(this.base, this.home)
  readonly bridges: (BareBridge | null)[] = [null, null]
  readonly commands = new Set<RunningCli>()
  /** What may be chosen now: one value where the last choice was acknowledged. */
  readonly choices = new Map(PACKS.map((pack) => [pack, new Set([false])]))
  idle = new Set([10])
  #choosing: Promise<unknown> = Promise.resolve()
  /** What nobody should see. */
  readonly faults: string[] = []
  readonly done = new Map<string, number>()
  isOver = false

  constructor(readonly index: WheelIndex) {
    mkdirSync(join(this.comfyui, 'custom_nodes'), { recursive: true })
    for (const pack of PACKS) this.update(pack)
  }

  get env(): Record<string, string> {
    return { ...this.mishaps.env, COMFY_ENV_SOURCES: this.index.simple, COMFY_ENV_INDEX: this.index.simple, COMFY_ENV_CACHE: join(this.home, 'cache') }
  }

  get args(): string[] {
    return ['--home', this.home, '--comfyui', this.comfyui]
  }

  dir(pack: string): string {
    return join(this.comfyui, 'custom_nodes', pack)
  }

  any<T>(of: readonly T[]): T {
    return of[this.random(of.length)] as T
  }

  /** The pack asks for the one version or the other. */
  update(pack: string): void {
    const version = this.any(['1.0', '2.0'])
    const made = makeNeedyPack(this.base, pack, [`ops==${version}`], [`plainly==${version}`])
    mkdirSync(this.dir(pack), { recursive: true })
    for (const name of readdirSync(made)) {
      const whole = join(this.comfyui, `${pack}-${name}`) // whoever reads the pack meanwhile sees one version or the other
      writeFileSync(whole, readFileSync(join(made, name)))
      renameSync(whole, join(this.dir(pack), name))
    }
  }

  note(what: string, code: string | null, message: string): void {
    const key = `${what} ${code ?? 'done'}`
    this.done.set(key, (this.done.get(key) ?? 0) + 1)
    if (code !== null && !EXPECTED.test(code)) this.faults.push(`${what}: ${code}: ${message}`)
  }

  /** One of choices at a time, so that what was acknowledged last is known. */
  inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#choosing.then(work)
    this.#choosing = mine
    return mine
  }

  /** A bridge that is there for as long as the run lasts. */
  async serve(place: number): Promise<void> {
    while (!this.isOver) {
      const bridge = await BareBridge.start(this.args, this.env).catch((error: Error) => (this.note('start', /cannot be (written|read)|disk is full/.test(error.message) ? 'FILE_UNWRITABLE' : 'START', error.message), null))
      this.bridges[place] = bridge
      if (!bridge) {
        await pause(200)
        continue
      }
      if (this.isOver) bridge.process.kill('SIGKILL') // it was about to start when the others were ended
      const how = await bridge.ended
      if (how !== 'SIGKILL' && !this.isOver) this.faults.push(`a bridge ended by itself (${how}): ${bridge.stderr.slice(-600)}`)
    }
  }

  /** What a user does in a panel. */
  async panel(place: number): Promise<void> {
    while (!this.isOver) {
      const bridge = this.bridges[place]
      if (bridge) await this.click(bridge)
      await pause(this.random(300))
    }
  }

  async click(bridge: BareBridge): Promise<void> {
    const pack = this.any(PACKS)
    const call = async (method: string, params: unknown): Promise<void> => {
      const { code, message } = await bridge.call(method, params)
      this.note(method, code, message)
    }
    switch (this.random(8)) {
      case 0:
      case 1:
        this.update(pack)
        return call('install.start', { pack })
      case 2:
        return call('install.undo', { env: pack })
      case 3:
        return call('env.repair', { env: pack })
      case 4:
        return this.random(2) === 0 ? call('env.delete', { env: pack }) : call('space.free', {})
      case 5:
        return this.inTurn(() => this.setIdle(bridge))
      default:
        return this.inTurn(() => this.choose(bridge, pack))
    }
  }

  async choose(bridge: BareBridge, pack: string): Promise<void> {
    const on = this.random(2) === 0
    const before = this.choices.get(pack) ?? []
    const { code, message } = await bridge.call('isolation.set', { pack, on })
    this.note('isolation.set', code, message)
    this.choices.set(pack, new Set(code === null ? [on] : [...before, on]))
  }

  async setIdle(bridge: BareBridge): Promise<void> {
    const minutes = 1 + this.random(1000)
    const { code, message } = await bridge.call('settings.set', { idle_minutes: minutes })
    this.note('settings.set', code, message)
    this.idle = new Set(code === null ? [minutes] : [...this.idle, minutes])
  }

  /** What a user does on a command line. */
  async command(): Promise<void> {
    while (!this.isOver) {
      const pack = this.any(PACKS)
      const args = this.any([['install', '--pack', this.dir(pack)], ['undo', pack], ['repair', pack], ['cleanup', '--delete'], ['envs']])
      const running = startComfyEnv([...args, ...this.args, '--json'], { env: this.env })
      this.commands.add(running)
      const { code, json, stderr } = await running.ended
      this.commands.delete(running)
      const error = (json as { error?: { code: string; message: string } } | null)?.error
      const isKilled = running.process.signalCode !== null
      this.note(args[0] ?? '', isKilled ? 'LOST' : code === 0 ? null : (error?.code ?? 'NO_ANSWER'), error?.message ?? stderr.slice(-400))
    }
  }

  /** Kills, failing disks, other clocks. */
  async befall(): Promise<void> {
    while (!this.isOver) {
      await pause(300 + this.random(1500))
      const what = this.random(5)
      if (what === 0) this.any(this.bridges)?.process.kill('SIGKILL')
      if (what === 1) this.any([...this.commands, null])?.process.kill('SIGKILL')
      if (what === 2) this.mishaps.shiftClock(this.any([0, 3600, -3600, 86_400, -86_400]))
      if (what < 3) continue
      this.mishaps.fail(what === 3 ? 'EIO' : 'ENOSPC', this.any([1, 5, 50]))
      await pause(50 + this.random(400))
      this.mishaps.fail('EIO', 0)
    }
  }
}

/** The versions that an env imports, every part of them; what is wrong if it does not. */
function imports(stress: Stress, pack: string): string {
  const folder = join(stress.home, 'envs', pack)
  if (!existsSync(join(folder, 'env.json'))) return 'absent'
  const { generation } = JSON.parse(readFileSync(join(folder, 'env.json'), 'utf8')) as { generation: number }
  const code = `import ops, plainly; from importlib import import_module as m\nassert all(m(f"{n}.part_{i}").VERSION.startswith(x.__version__) for n, x in (("ops", ops), ("plainly", plainly)) for i in range(${PARTS}))\nprint(ops.__version__, plainly.__version__)`
  try {
    return execFileSync(join(folder, `gen-${generation}`, 'bin', 'python'), ['-c', code], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
  } catch (error) {
    return `gen-${generation}: ${String((error as { stderr?: string }).stderr).slice(-300)}`
  }
}

/** Processes that have something of the run in their arguments. */
const processesOf = (base: string): string[] =>
  readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      const line = readFileSync(join('/proc', pid, 'cmdline'), 'utf8').replaceAll('\0', ' ')
      return line.includes(base) ? [line.slice(0, 120)] : []
    } catch {
      return []
    }
  })

/** Files that nobody of us has made, beside what we make. */
function strangers(home: string): { hash: () => string } {
  const places = ['notes', 'envs/mine', 'run/mine', 'jobs/mine', 'cache/mine', 'snapshots/mine'].map((path) => join(home, path))
  for (const place of places) {
    mkdirSync(join(place, 'gen-1'), { recursive: true })
    writeFileSync(join(place, 'gen-1', 'thesis.txt'), place)
    writeFileSync(join(place, 'work.tmp'), place)
  }
  return { hash: () => places.map((place) => (existsSync(place) ? treeHash(place, true) : 'gone')).join() }
}

test.skipIf(!canHaveMishaps())(`72: ${SECONDS} s of everything at once, with kills, failing disks and other clocks: nothing is lost`, async () => {
  const index = await startWheelIndex(PYTHON, WHEELS)
  const stress = new Stress(index)
  try {
    const first = await BareBridge.start(stress.args, { ...stress.env, LD_PRELOAD: '' })
    await first.end() // the home is ours from here on
    const foreign = strangers(stress.home)
    const before = foreign.hash()
    const actors = [stress.serve(0), stress.serve(1), stress.panel(0), stress.panel(1), stress.command(), stress.command()]
    const befalling = stress.befall()
    await pause(SECONDS * 1000)
    stress.isOver = true
    await befalling
    stress.mishaps.end()
    for (const bridge of stress.bridges) bridge?.process.kill('SIGKILL')
    await Promise.all(actors)

    const last = await BareBridge.start(stress.args, { ...stress.env, LD_PRELOAD: '' })
    await until('jobs that were under way', async () => (await last.snapshot())?.jobs.every(({ state }) => state.status !== 'running') === true, 120_000)
    const state = JSON.parse(readFileSync(join(stress.home, 'state.json'), 'utf8')) as { isolated: string[] }
    const settings = parse(readFileSync(join(stress.home, 'settings.toml'), 'utf8')) as { workers: { idle_minutes: number } }
    const host = (await last.snapshot())?.host
    expect(await last.end()).toBe('0')
    console.log(JSON.stringify(Object.fromEntries([...stress.done].sort())))
    expect(stress.faults).toEqual([])
    expect(PACKS.map((pack) => imports(stress, pack)).filter((said) => !/^(absent|1\.0.* 1\.0|2\.0.* 2\.0)/.test(said))).toEqual([])
    expect(PACKS.filter((pack) => !stress.choices.get(pack)?.has(state.isolated.includes(pack)))).toEqual([])
    expect([...stress.idle]).toContain(settings.workers.idle_minutes)
    expect(host?.problems).toEqual([])
    expect(foreign.hash()).toBe(before)
    expect(processesOf(stress.base)).toEqual([])
    expect(readdirSync(join(stress.home, 'run'))).toEqual(['mine'])
    figure(72, `seed ${SEED}, ${SECONDS} s: ${[...stress.done.values()].reduce((sum, count) => sum + count, 0)} actions`)
  } finally {
    await index.close()
    rmSync(stress.base, { recursive: true, force: true })
  }
}, SECONDS * 1000 + 300_000)
