import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PYTHON, ROOT } from '../../scripts/devPython.ts'
import { SHARED_CACHE } from './cache.ts'
import { LOCAL } from './installs.ts'
import { isSound, type MonthPack, newPack, writePack } from './monthPacks.ts'
import { expectedOf, type Expected, type HostChoice } from './monthPlain.ts'
import { Side, type Snapshot, type World } from './monthSide.ts'
import { random } from './random.ts'
import { startWheelIndex, type WheelIndex } from './wheelIndex.ts'

const OPS = [
  { name: 'ops', version: '1.0', ...LOCAL },
  { name: 'ops', version: '2.0', ...LOCAL },
]
const OURS = ['__init__.py', 'prestartup_script.py', 'pyproject.toml', 'bridge/dist', 'web/dist', 'python_shim']
const SETTINGS = {
  valid: '# mine\nregistry = false\n\n[workers]\nidle_minutes = 30\n',
  unknown: '# mine\nregistry = false\nwhat_is_this = 3\n\n[workers]\nidle_minutes = 30\n',
  broken: '# mine\nregistry = \n[workers\n',
}

/** One home and its packs through a month: what was done to them, and what must be so because of it. */
export class Month implements World {
  readonly base = mkdtempSync(join(tmpdir(), 'envmanager-month-'))
  readonly random: (below: number) => number
  readonly snapshots: Snapshot[] = []
  readonly chosen = new Set<string>()
  readonly kills = new Map<string, number>()
  readonly packs: MonthPack[]
  readonly done: string[] = []
  settings: keyof typeof SETTINGS = 'valid'
  /** Versions in the environment of the pack that has one: the one in use, and the one that an undo brings back. */
  installed: string[] = []
  #host = 0
  #product = 0
  #second = 1_600_000_000
  #rest = 0
  readonly #known = new Map<string, Expected>()
  #side: Side | null = null

  private constructor(
    seed: number,
    readonly hosts: readonly HostChoice[],
    readonly products: readonly string[],
    readonly index: WheelIndex | null,
  ) {
    this.random = random(seed)
    this.packs = [newPack('One'), newPack('Two'), newPack('Three', index ? '1.0' : null)]
  }

  /** On the test host and an altered one; or on real ComfyUIs, without environments, which each Python would need one of its own. */
  static async start(seed: number, hosts: readonly HostChoice[] | null): Promise<Month> {
    const folder = mkdtempSync(join(tmpdir(), 'envmanager-month-code-'))
    const index = hosts ? null : await startWheelIndex(PYTHON, OPS)
    const month = new Month(seed, hosts ?? [{}, { host: otherHost(folder) }], [ROOT, otherRelease(folder)], index)
    try {
      await month.#begin()
      return month
    } catch (error) {
      await month.end()
      throw error
    }
  }

  async #begin(): Promise<void> {
    mkdirSync(this.root)
    for (const pack of this.packs) writePack(this.root, pack, ++this.#second)
    mkdirSync(this.home, { recursive: true })
    await this.note()
    await this.startComfy()
    this.writeSettings('valid')
    if (this.index) await this.install()
    for (const { prefix } of this.packs) await this.choose(prefix, true)
    await this.note()
    for (const { prefix } of this.packs) await this.side.check(prefix)
  }

  get root(): string {
    return join(this.base, 'custom_nodes')
  }

  get home(): string {
    return join(this.base, 'user', '__envmanager')
  }

  get side(): Side {
    if (!this.#side) throw new Error('no ComfyUI')
    return this.#side
  }

  get isSettingsBroken(): boolean {
    return this.settings === 'broken'
  }

  pack(prefix: string): MonthPack {
    const pack = this.packs.find((one) => one.prefix === prefix)
    if (!pack) throw new Error(`no pack ${prefix}`)
    return pack
  }

  isChosen(prefix: string): boolean {
    return this.chosen.has(this.pack(prefix).folder)
  }

  /** Options of a ComfyUI of this month. */
  get options(): { base: string; env: Record<string, string> } & HostChoice {
    const sources = this.index ? { COMFY_ENV_SOURCES: this.index.simple, COMFY_ENV_CACHE: SHARED_CACHE } : {}
    return { base: this.base, env: { ...sources, COMFY_ENV_BRIDGE_DEATHS: '1000' }, ...this.hosts[this.#host] }
  }

  async startComfy(): Promise<void> {
    const link = join(this.root, 'comfyui-envmanager')
    rmSync(link, { force: true })
    symlinkSync(this.products[this.#product] ?? ROOT, link, 'junction')
    this.kills.clear()
    this.#side = await Side.start(this, this.options)
  }

  async stopComfy(signal: NodeJS.Signals = 'SIGINT'): Promise<void> {
    const side = this.#side
    this.#side = null
    await side?.end(signal)
  }

  async swap(what: 'host' | 'product'): Promise<void> {
    if (what === 'host') this.#host = 1 - this.#host
    else this.#product = 1 - this.#product
    await this.note()
  }

  /** Changes the files of a pack, while ComfyUI runs or between two of its starts. */
  async change(prefix: string, how: string, change: (pack: MonthPack) => void): Promise<void> {
    if (how === 'cold') await this.stopComfy()
    const pack = this.pack(prefix)
    const before = { ...pack }
    change(pack)
    pack.edition++
    this.#second += 60
    writePack(this.root, pack, this.#second, before)
    await this.note()
    if (how === 'cold') await this.startComfy()
  }

  /** The files are as they are now: what must be so from here on. */
  async note(): Promise<void> {
    const three = this.pack('Three')
    const wheel = this.#hasEnv(three) ? this.installed.at(-1) : undefined
    const key = JSON.stringify([this.#host, this.packs, wheel])
    const expected = this.#known.get(key) ?? (await expectedOf(this.hosts[this.#host] ?? {}, this.packs, this.#archives(wheel)))
    this.#known.set(key, expected)
    this.snapshots.push({ packs: structuredClone(this.packs), expected })
  }

  /** Whether what is isolated of a pack has its environment: that belongs to the name of its folder then. */
  #hasEnv({ folder, wants }: MonthPack): boolean {
    return wants !== null && folder === 'three' && this.chosen.has(folder)
  }

  /** Where that version can be imported from without being installed. */
  #archives(wheel: string | undefined): string[] {
    const files = join(this.index?.folder ?? '', 'files')
    return wheel ? readdirSync(files).filter((name) => name.startsWith(`ops-${wheel}`)).map((name) => join(files, name)) : []
  }

  writeSettings(kind: keyof typeof SETTINGS): void {
    this.settings = kind
    writeFileSync(join(this.home, 'settings.toml'), SETTINGS[kind])
  }

  /** Switches isolation in a panel. What cannot be done is said, and then nothing has changed. */
  async choose(prefix: string, on: boolean, side: Side = this.side): Promise<void> {
    const { folder } = this.pack(prefix)
    const fault = await side.panel.call('isolation.set', { pack: folder, on }).then(() => null, (error: Error) => error.message)
    if (fault === null) {
      if (on) this.chosen.add(folder)
      else this.chosen.delete(folder)
      await this.note()
      return side.switched(prefix, on)
    }
    const lacksEnv = this.pack(prefix).wants !== null && folder !== 'three'
    const mayFail = !isSound(this.pack(prefix)) || (on && lacksEnv) || this.isSettingsBroken || (this.kills.get(folder) ?? 0) >= 3
    if (!mayFail) throw new Error(`${folder} could not be switched ${on ? 'on' : 'off'}: ${fault}`)
  }

  /** Installs what the third pack asks for. */
  async install(): Promise<void> {
    const { folder, wants } = this.pack('Three')
    await this.side.panel.install(folder)
    this.installed = [...this.installed, wants ?? ''].slice(-2)
    await this.note()
    this.side.workerEnded('Three')
  }

  /** Looks at a pack, at one of the others, and at what the user has chosen. */
  async check(prefix: string, isStart: boolean): Promise<void> {
    const others = this.packs.filter((pack) => pack.prefix !== prefix)
    const other = others[++this.#rest % others.length]?.prefix ?? prefix
    for (const each of [prefix, other]) {
      await this.side.check(each)
      if (isStart) await this.side.checkShown(each)
    }
    const saved = JSON.parse(readFileSync(join(this.home, 'state.json'), 'utf8')) as { isolated: string[] }
    const said = (names: Iterable<string>): string => [...names].toSorted().join(', ')
    if (said(saved.isolated) !== said(this.chosen)) throw new Error(`isolated is ${said(saved.isolated)}, and ${said(this.chosen)} was chosen`)
    const settings = readFileSync(join(this.home, 'settings.toml'), 'utf8')
    if (!settings.startsWith('# mine\nregistry =')) throw new Error(`settings.toml has lost what the user wrote: ${settings}`)
  }

  /** What is printed of a month that has gone wrong. */
  report(): string {
    const printed = this.#side?.comfy.output().trim().split('\n').slice(-25) ?? []
    return [`MONTH_STEPS='${this.done.join('; ')}'`, ...printed].join('\n')
  }

  async end(): Promise<void> {
    await this.stopComfy().catch(() => undefined)
    await this.index?.close()
    rmSync(this.base, { recursive: true, force: true, maxRetries: 5 })
    for (const product of this.products.slice(1)) rmSync(join(product, '..'), { recursive: true, force: true })
  }
}

/** Another version of the test host: it has a node class of its own under the name of a pack's. */
function otherHost(folder: string): string {
  const host = join(folder, 'host')
  cpSync(join(ROOT, 'e2e', 'host'), host, { recursive: true, filter: (path) => !path.includes('__pycache__') })
  writeFileSync(join(host, 'comfyui_version.py'), '__version__ = "test-host-2"\n')
  const nodes = join(host, 'nodes.py')
  const core = 'class TwoExtra(PreviewAny):\n    INPUT_TYPES = classmethod(lambda cls: {"required": {"value": ("INT", {})}})\n    RETURN_TYPES = ("STRING",)\n    OUTPUT_NODE = False\n\n    def main(self, value):\n        return (f"of ComfyUI {value}",)\n\n\nNODE_CLASS_MAPPINGS = {"TwoExtra": TwoExtra, **{'
  writeFileSync(nodes, readFileSync(nodes, 'utf8').replace('NODE_CLASS_MAPPINGS = {', core).replace(/(PreviewImage, PreviewAny\))\}/, '$1}}'))
  return host
}

/** Another release of ours, which keeps what it knows of packs in another format. */
function otherRelease(folder: string): string {
  const product = join(folder, 'comfyui-envmanager')
  for (const name of OURS) cpSync(join(ROOT, name), join(product, name), { recursive: true, filter: (path) => !path.includes('__pycache__') })
  const key = join(product, 'python_shim', 'wire', 'pack_key.py')
  writeFileSync(key, readFileSync(key, 'utf8').replace(/^FORMAT = (\d+)$/m, (_line, format) => `FORMAT = ${Number(format) + 1}`))
  return product
}
