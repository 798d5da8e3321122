import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FRONTENDS, ROOT } from '../../scripts/devPython.ts'
import { SHARED_CACHE } from './cache.ts'
import { bridgePid, startComfy, type Comfy, type ComfyOptions } from './comfy.ts'
import { PanelClient } from './panelClient.ts'
import { isAlive, until } from './processes.ts'
import { forgetResults, run, type Outcome, type Prompt } from './prompts.ts'
import type { WheelIndex } from './wheelIndex.ts'

const PACK = 'handle-maker'
/** What the pack needs, where it has an environment of its own: a package that ComfyUI does not have. It runs without too. */
const NEEDS = '[packages]\nno_deps = ["tinyops==0.4.0"]\n'
/** A worker with nothing to do ends at the next look, or never. */
const AT_ONCE = 0.0001
const NEVER = 0

const SHAPES: Record<string, Prompt> = {
  'one node down': { '1': { class_type: 'HandleMake', inputs: { seed: 7 } }, '9': { class_type: 'HandleUse', inputs: { thing: ['1', 0] } } },
  'three nodes down': {
    '1': { class_type: 'HandleMake', inputs: { seed: ['5', 0] } },
    '2': { class_type: 'HandleNext', inputs: { thing: ['1', 0] } },
    '3': { class_type: 'HandleNext', inputs: { thing: ['2', 0] } },
    '5': { class_type: 'HandleSeed', inputs: { seed: 5 } },
    '9': { class_type: 'HandleUse', inputs: { thing: ['3', 0] } },
  },
  'in a list': {
    '1': { class_type: 'HandleMake', inputs: { seed: 7 } },
    '2': { class_type: 'HandleList', inputs: { thing: ['1', 0] } },
    '9': { class_type: 'HandleUse', inputs: { thing: ['2', 0] } },
  },
  'in a dict in a list': {
    '1': { class_type: 'HandleMake', inputs: { seed: 7 } },
    '2': { class_type: 'HandleDict', inputs: { thing: ['1', 0] } },
    '9': { class_type: 'HandleUse', inputs: { thing: ['2', 0] } },
  },
}
const HOLDERS = ['a namespace', 'a queue', 'a key', 'an attribute of a tensor']
for (const how of HOLDERS) {
  SHAPES[`in ${how}`] = {
    '1': { class_type: 'HandleMake', inputs: { seed: 7 } },
    '2': { class_type: 'HandleHold', inputs: { thing: ['1', 0], how } },
    '9': { class_type: 'HandleTakeOut', inputs: { held: ['2', 0] } },
  }
}
/** Nobody but its class knows what is in it. */
const HIDDEN = 'in an object of ComfyUI'
SHAPES[HIDDEN] = {
  '1': { class_type: 'HandleMake', inputs: { seed: 7 } },
  '2': { class_type: 'ValueBox', inputs: { value: ['1', 0] } },
  '3': { class_type: 'ValueBox', inputs: { value: ['2', 0] } },
  '9': { class_type: 'HandleUse', inputs: { thing: ['3', 0] } },
}

export const ALL_SHAPES = Object.keys(SHAPES)
/** Objects of torch that cannot leave their process: tried where their nodes move. */
export const TORCH_SHAPES = ['a module', 'a sparse tensor'].map((how) => `of torch: ${how}`)
for (const shape of TORCH_SHAPES) {
  SHAPES[shape] = { '1': { class_type: 'HandleTorch', inputs: { seed: 7, how: shape.replace('of torch: ', '') } }, '9': { class_type: 'HandleUse', inputs: { thing: ['1', 0] } } }
}

/** The nodes that must run once more when their objects are gone: those that made one or hold one, and the last. */
const AGAIN: Record<string, string[]> = {
  'one node down': ['HandleMake', 'HandleUse'],
  'three nodes down': ['HandleMake', 'HandleNext', 'HandleNext', 'HandleUse'],
  'in a list': ['HandleMake', 'HandleList', 'HandleUse'],
  'in a dict in a list': ['HandleMake', 'HandleDict', 'HandleUse'],
  [HIDDEN]: ['HandleMake', 'HandleUse'],
}
for (const shape of TORCH_SHAPES) AGAIN[shape] = ['HandleTorch', 'HandleUse']
for (const how of HOLDERS) AGAIN[`in ${how}`] = ['HandleMake', 'HandleHold', 'HandleTakeOut']

/** What runs of these shapes, in the order of the names. */
export const again = (shapes: string[]): string[] => shapes.flatMap((shape) => AGAIN[shape] ?? []).toSorted()
/** The same where all shapes but the one with a seed from a node have makers that are equal: ComfyUI runs one of them. */
export const againOfOne = (shapes: string[]): string[] => [...again(shapes).filter((name) => name !== 'HandleMake'), 'HandleMake', 'HandleMake'].toSorted()
/** The same when ComfyUI has forgotten what they have made. */
export const everything = (shapes: string[]): string[] => [...again(shapes), ...(shapes.includes('three nodes down') ? ['HandleSeed'] : [])].toSorted()
/** The same when nothing is gone. */
export const last = (shapes: string[]): string[] => shapes.map((shape) => SHAPES[shape]?.['9']?.class_type ?? '').toSorted()

export const saidOf = ({ outputs, error }: Outcome): string => String(outputs['10']?.text?.[0] ?? error.exception_message)

interface Ids {
  equal?: boolean
  first?: number
}

/** A ComfyUI whose pack keeps its objects in a worker, and the ways in which that worker ends. */
export class Keeper {
  readonly #folder: string | null
  #number = 0
  #edition = 1

  private constructor(
    public comfy: Comfy,
    public panel: PanelClient,
    folder: string | null,
  ) {
    this.#folder = folder
  }

  /** `index`: the pack has an environment of its own, from there. `apart`: ComfyUI itself has never imported the pack. */
  static async start({ index, apart = false, args = [], env = {} }: { index?: WheelIndex; apart?: boolean; args?: string[]; env?: Record<string, string> } = {}): Promise<Keeper> {
    const folder = index ? mkdtempSync(join(tmpdir(), 'envmanager-handles-')) : null
    const pack = folder ? join(folder, PACK) : PACK
    if (folder) {
      cpSync(join(ROOT, 'e2e', 'packs', PACK), pack, { recursive: true })
      writeFileSync(join(pack, 'comfyui_env.toml'), NEEDS)
    }
    const sources = index ? { COMFY_ENV_SOURCES: index.simple, COMFY_ENV_CACHE: SHARED_CACHE } : {}
    const options = { frontend: FRONTENDS[0], args, env: { ...sources, COMFY_ENV_BRIDGE_DEATHS: '100', ...env } }
    const comfy = await startComfy({ ...options, packs: [pack, 'value-host'] })
    const keeper = new Keeper(comfy, await PanelClient.connect(comfy.url), folder)
    try {
      await keeper.#checked()
      if (index) await keeper.panel.install(PACK)
      await keeper.isolate(true)
      if (apart) await keeper.#startAgain(options)
      return keeper
    } catch (error) {
      await keeper.end()
      throw error
    }
  }

  async #checked(): Promise<void> {
    await this.panel.until(({ packs, host }) => host.comfyui !== null && packs.some(({ id, reason }) => id === PACK && reason !== 'Being checked.'), PACK)
  }

  async #startAgain(options: Omit<ComfyOptions, 'packs'>): Promise<void> {
    this.panel.close()
    await this.comfy.stop()
    this.comfy = await startComfy({ ...options, packs: [], base: this.comfy.base })
    this.panel = await PanelClient.connect(this.comfy.url)
    await this.#checked()
  }

  async end(): Promise<void> {
    this.panel.close()
    await this.comfy.stop()
    this.comfy.remove()
    if (this.#folder) rmSync(this.#folder, { recursive: true, force: true })
  }

  isolate(on: boolean): Promise<unknown> {
    return this.panel.call('isolation.set', { pack: PACK, on })
  }

  /** Each shape has a maker of its own, by another seed, unless they are to be equal. `first`: number of the first node, in hundreds. The last
   * node of each has another number at each run, so that it is not kept. */
  #prompt(shapes: string[], { equal = false, first = 0 }: Ids): Prompt {
    this.#number++
    const nodes = shapes.flatMap((shape, place) => {
      const id = (node: string): string => String((first + place) * 100 + Number(node))
      const inputs = (given: Record<string, unknown>): Record<string, unknown> =>
        Object.fromEntries(
          Object.entries(given).map(([name, value]) => {
            if (Array.isArray(value)) return [name, [id(String(value[0])), value[1]]]
            return [name, name === 'seed' && !equal ? Number(value) + place : value]
          }),
        )
      const made = Object.entries(SHAPES[shape] ?? {}).map(([node, { class_type, inputs: given }]) => {
        const all = node === '9' ? { ...given, number: this.#number } : given
        return [id(node), { class_type, inputs: inputs(all) }] as const
      })
      return [...made, [id('10'), { class_type: 'PreviewAny', inputs: { source: [id('9'), 0] } }] as const]
    })
    return Object.fromEntries(nodes)
  }

  get runsFile(): string {
    return join(this.comfy.base, 'output', 'runs.log')
  }

  /** What the bridge and ComfyUI have said last. */
  journal(): string {
    const lines = readFileSync(join(this.comfy.home, 'logs', 'bridge.ndjson'), 'utf8').trim().split('\n')
    return [...lines.slice(-80), ...this.comfy.output().trim().split('\n').slice(-20)].join('\n')
  }

  /** The nodes of the pack that have run since it was last asked. */
  ranNodes(): string[] {
    const lines = existsSync(this.runsFile) ? readFileSync(this.runsFile, 'utf8').trim().split('\n').filter(Boolean) : []
    rmSync(this.runsFile, { force: true })
    return lines
  }

  /** Runs shapes in one prompt, which must be right at once; the nodes that have run. `edition`: of the pack's code, null: any. */
  async use(shapes: string[], { edition = this.#edition, equal = false, first = 0 }: Ids & { edition?: number | null } = {}): Promise<string[]> {
    const { outputs, error } = await run(this.comfy.url, this.#prompt(shapes, { equal, first }))
    const number = this.#number
    const said = shapes.map((shape, place) => `${shape}: ${outputs[String((first + place) * 100 + 10)]?.text?.[0] ?? 'nothing'}`)
    const wrong = said.filter((text, place) => !text.startsWith(`${shapes[place]}: ${equal ? 7 : 7 + place} ${number} edition ${edition ?? ''}`))
    if (wrong.length > 0) throw new Error(`${wrong.join('; ')}. Node ${error.node_id}: ${error.exception_message}\n${error.traceback?.join('') ?? ''}`)
    return this.ranNodes().toSorted()
  }

  /** The same inside ComfyUI, which has the code that it has loaded. */
  useInside(shapes: string[]): Promise<string[]> {
    return this.use(shapes, { edition: 1 })
  }

  async worker(): Promise<{ id: string; pid: number }> {
    const found = (await this.panel.snapshot()).workers.find(({ packs }) => packs.includes(PACK))
    if (!found?.pid) throw new Error('no worker')
    return { id: found.id, pid: found.pid }
  }

  /** Ends the worker and waits until ComfyUI's side can know. */
  async kill(): Promise<void> {
    const { pid } = await this.worker()
    process.kill(pid, 'SIGKILL')
    await this.panel.until(({ workers }) => workers.every((one) => one.pid !== pid), 'its end')
  }

  async restart(): Promise<void> {
    await this.panel.call('worker.restart', { worker: (await this.worker()).id })
  }

  async stop(): Promise<void> {
    await this.panel.call('worker.stop', { worker: (await this.worker()).id })
  }

  async switchOffAndOn(): Promise<void> {
    await this.isolate(false)
    await this.isolate(true)
  }

  async killBridge(): Promise<void> {
    const bridge = bridgePid(this.comfy.home)
    if (bridge === null) throw new Error('no bridge')
    process.kill(bridge, 'SIGKILL')
    await until('the bridge to end', () => !isAlive(bridge), 5000)
    await until('a new bridge', () => ![null, bridge].includes(bridgePid(this.comfy.home)), 20_000)
    this.panel.close()
    this.panel = await PanelClient.connect(this.comfy.url)
    await this.panel.until(({ packs }) => packs.some(({ id, isolation }) => id === PACK && isolation.state === 'on'), 'the pack')
  }

  /** ComfyUI lets go of everything, and the worker has nothing to do any more. */
  async idle(): Promise<void> {
    const { pid } = await this.worker()
    await this.panel.call('settings.set', { idle_minutes: AT_ONCE })
    await forgetResults(this.comfy.url)
    await this.panel.until(({ workers }) => workers.every((one) => one.pid !== pid), 'the idle worker to end', 30_000)
    await this.panel.call('settings.set', { idle_minutes: NEVER })
  }

  /** Waits until the pack runs in another process. */
  async #renewed(change: () => Promise<unknown>): Promise<void> {
    const { pid } = await this.worker()
    await change()
    await this.panel.until(({ workers, packs }) => workers.some((one) => one.packs.includes(PACK) && one.pid !== null && one.pid !== pid && one.state.status === 'ready') && packs.some(({ id, isolation }) => id === PACK && isolation.state === 'on'), 'the new worker')
  }

  repair(): Promise<void> {
    return this.#renewed(async () => {
      const { job } = await this.panel.call<{ job: string }>('env.repair', { env: PACK })
      const { jobs } = await this.panel.until((state) => state.jobs.some(({ id, state }) => id === job && state.status !== 'running'), 'the repair')
      const state = jobs.find(({ id }) => id === job)?.state
      if (state?.status !== 'done') throw new Error(JSON.stringify(state))
    })
  }

  undo(): Promise<void> {
    return this.#renewed(() => this.panel.call('install.undo', { env: PACK }))
  }

  /** The pack's files are others, as after `git pull`, and it is installed again. For a pack that ComfyUI has never imported. */
  async update(): Promise<void> {
    const times = this.panel.exchanged.length
    await this.#renewed(async () => {
      const file = join(this.comfy.base, 'custom_nodes', PACK, '__init__.py')
      const code = readFileSync(file, 'utf8')
      writeFileSync(file, code.replace(/^EDITION = \d+$/m, `EDITION = ${++this.#edition}`))
      await this.panel.install(PACK)
    })
    await until('the classes of the new files', () => this.panel.exchanged.length > times, 10_000)
  }
}
