import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, type ComfyOptions, startComfy } from './comfy.ts'
import { CHAIN, isSound, KINDS, type MonthPack, promptOf } from './monthPacks.ts'
import { ask, describe, type Expected, keyOf, otherOf, type Said, webFile } from './monthPlain.ts'
import { PanelClient } from './panelClient.ts'
import { until } from './processes.ts'

/** How the files were at one time of the month, and what they must give. */
export interface Snapshot {
  packs: MonthPack[]
  expected: Expected
}

/** What the month knows beyond the files. */
export interface World {
  snapshots: Snapshot[]
  chosen: Set<string>
  isSettingsBroken: boolean
  /** Workers of a pack that were killed. */
  kills: Map<string, number>
}

/** In a sentence for a user nothing of this stands. */
const UNCLEAR = /^(KeyError|TypeError|AttributeError|AssertionError|RuntimeError|IndexError|NameError)\b|has no attribute|undefined|INTERNAL|Traceback/
const SETTLE_MS = 60_000

/** Of which time on what a ComfyUI has of a pack may be, as places in the list of snapshots. */
interface Marks {
  /** What it refuses: it may know the classes of then. */
  refusals: number
  results: number
  /** When it imported the pack itself; null: it has not. */
  inside: number | null
}

let turns = 0

/** Whether it is said as without us, or with more words to a refusal: which isolated packs could not be loaded. */
function isLike(said: Said, expected: Said | undefined): boolean {
  if (expected?.how !== said.how) return false
  return said.text === expected.text || (said.how === 'refused' && said.text.startsWith(`${expected.text} `) && said.text.includes(' runs isolated and could not be loaded: '))
}

/** A ComfyUI with us in it, and what may still be old there. */
export class Side {
  readonly #marks = new Map<string, Marks>()
  readonly #folders: Map<string, string>
  readonly #first: number
  /** Packs to which something has happened that a sentence may be about for a moment. */
  readonly #unsettled = new Set<string>()

  private constructor(
    readonly comfy: Comfy,
    public panel: PanelClient,
    readonly world: World,
  ) {
    this.#first = this.#last
    this.#folders = new Map(this.#now.packs.map(({ prefix, folder }) => [prefix, folder]))
    for (const { prefix, folder } of this.#now.packs) this.#marks.set(prefix, { refusals: this.#last, results: this.#last, inside: world.chosen.has(folder) ? null : this.#last })
  }

  static async start(world: World, options: Partial<ComfyOptions>): Promise<Side> {
    const comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], ...options })
    const panel = await PanelClient.connect(comfy.url, 60_000)
    await panel.until(({ host }) => host.comfyui !== null, 'ComfyUI’s report')
    return new Side(comfy, panel, world)
  }

  get #last(): number {
    return this.world.snapshots.length - 1
  }

  get #now(): Snapshot {
    const [now] = this.world.snapshots.slice(-1)
    if (!now) throw new Error('no snapshot')
    return now
  }

  #marksOf(prefix: string): Marks {
    const marks = this.#marks.get(prefix)
    if (!marks) throw new Error(prefix)
    return marks
  }

  #pack(prefix: string): MonthPack {
    const pack = this.#now.packs.find((one) => one.prefix === prefix)
    if (!pack) throw new Error(prefix)
    return pack
  }

  /** Something has happened to a pack here: what is said at first need not be what is said then. */
  disturbed(prefix: string): void {
    this.#unsettled.add(prefix)
  }

  /** The next worker of a pack has the files of now. */
  workerEnded(prefix: string): void {
    this.disturbed(prefix)
    if (this.world.chosen.has(this.#pack(prefix).folder)) this.#marksOf(prefix).results = this.#last
  }

  /** The pack runs elsewhere from now on: in a new worker, or inside, where it is loaded now if it was not. */
  switched(prefix: string, on: boolean): void {
    this.disturbed(prefix)
    if (this.#isMoved(prefix)) return // what ComfyUI has of it is of its old folder until it starts again
    const marks = this.#marksOf(prefix)
    if (!on) marks.inside ??= this.#last
    marks.results = on ? this.#last : (marks.inside ?? this.#last)
  }

  async reconnect(): Promise<void> {
    this.panel.close()
    this.panel = await PanelClient.connect(this.comfy.url, 60_000)
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.panel.close()
    await this.comfy.stop(signal)
  }

  /** Every kind of prompt with a pack, each as a new one and as one that may have been run before. Throws what is wrong. */
  async check(prefix: string): Promise<void> {
    for (const kind of KINDS) {
      await this.#settles(prefix, kind, true)
      await this.#settles(prefix, kind, false)
    }
    this.#unsettled.delete(prefix)
  }

  /** What was loaded since this ComfyUI's start: what the canvas and the browser are told of a pack too. */
  async checkShown(prefix: string): Promise<void> {
    const { expected } = this.#now
    const folder = this.#folders.get(prefix) ?? ''
    if (this.world.isSettingsBroken && this.world.chosen.has(folder)) return // and its prompts say so
    for (const cls of [`${prefix}Main`, `${prefix}Extra`]) await this.#becomes(`what is said of ${cls}`, () => describe(this.comfy.url, cls), expected.described[cls])
    await this.#becomes(`the web folder of ${prefix}`, () => webFile(this.comfy.url, folder), expected.web[prefix])
    const isBroken = this.#pack(prefix).presence === 'there' && this.#pack(prefix).isBroken
    if (isBroken && this.world.chosen.has(folder)) await this.panel.until(({ packs }) => packs.some(({ id, isolation }) => id === folder && isolation.state === 'failed'), `${folder} to be shown as failed`, SETTLE_MS)
  }

  async #becomes(what: string, look: () => Promise<string>, wanted: string | undefined): Promise<void> {
    let last = ''
    await until(what, async () => (last = await look()) === wanted, SETTLE_MS).catch(() => {
      throw new Error(`${what}: ${last} in place of ${wanted}`)
    })
  }

  async #settles(prefix: string, kind: string, isNew: boolean): Promise<void> {
    const other = kind === CHAIN ? otherOf(this.#now.packs, prefix) : ''
    const packs = [prefix, ...(other ? [other] : [])]
    const end = Date.now() + SETTLE_MS
    for (let tries = 1; ; tries++) {
      const said = await ask(this.comfy.url, promptOf(kind, prefix, other, isNew ? ++turns : null))
      const fault = this.#fault(said, packs, keyOf(kind, prefix), isNew)
      if (fault === null) return
      if (fault === 'wrong' || Date.now() > end) {
        const from = Math.min(...packs.map((each) => this.#marksOf(each).results))
        const might = this.world.snapshots.slice(from).map(({ expected }) => JSON.stringify(expected.said[keyOf(kind, prefix)]))
        throw new Error(`${kind} of ${prefix}${isNew ? '' : ', an equal one'}, asked ${tries} times: ${JSON.stringify(said)} in place of ${[...new Set(might)].join(' or ')}`)
      }
      await new Promise((done) => setTimeout(done, 200))
    }
  }

  /** Null: it is as it must be, or a sentence says rightly why not. `later`: a sentence that may be said for a moment. */
  #fault(said: Said, prefixes: string[], key: string, isNew: boolean): 'wrong' | 'later' | null {
    const marks = prefixes.map((prefix) => this.#marksOf(prefix))
    const from = Math.min(...marks.map(({ results, refusals }) => (said.how === 'shown' ? results : refusals)))
    const isAsInside = this.world.snapshots.slice(from).some(({ expected }) => isLike(said, expected.said[key]))
    if (said.how !== 'shown') return isAsInside || this.#isWarranted(said.text, prefixes) ? null : UNCLEAR.test(said.text) || !prefixes.some((prefix) => this.#isUnsettled(prefix)) ? 'wrong' : 'later'
    if (!isAsInside || (isNew && !this.#isInPlace(said, prefixes.at(-1) ?? ''))) return 'wrong'
    this.#hasRun(said, prefixes, key)
    return null
  }

  /** Whether anything has happened to a pack since this ComfyUI's start, its last look at all of it, or to its files. */
  #isUnsettled(prefix: string): boolean {
    const editions = this.world.snapshots.slice(this.#first).flatMap(({ packs }) => packs.filter((pack) => pack.prefix === prefix).map(({ edition }) => edition))
    return this.#unsettled.has(prefix) || new Set(editions).size > 1
  }

  /** Whether a pack's folder has another name than when this ComfyUI started. */
  #isMoved(prefix: string): boolean {
    return this.#folders.get(prefix) !== this.#pack(prefix).folder
  }

  /** Whether a pack's node has run where the user has chosen. */
  #isInPlace({ place }: Said, prefix: string): boolean {
    const { folder } = this.#pack(prefix)
    return place === null || this.#isMoved(prefix) || place === (this.world.chosen.has(folder) ? 'isolated' : 'inside')
  }

  /** Once the worker of a pack that ComfyUI has not imported has run the newest files, ComfyUI has their classes. */
  #hasRun({ text }: Said, prefixes: string[], key: string): void {
    if (this.#now.expected.said[key]?.text !== text || prefixes.length > 1 || !text.includes(' edition ')) return // a node of ComfyUI's own says nothing of the files
    const marks = this.#marksOf(prefixes[0] ?? '')
    if (marks.inside === null) marks.refusals = marks.results = this.#last
  }

  /** Whether a sentence is true, so that it may be said until something is done about it. */
  #isWarranted(text: string, prefixes: string[]): boolean {
    if (this.world.isSettingsBroken && text.includes('settings.toml')) return true
    return prefixes.some((prefix) => {
      const { inside, results, refusals } = this.#marksOf(prefix)
      const states = this.world.snapshots.slice(Math.min(results, refusals)).flatMap(({ packs }) => packs.filter((pack) => pack.prefix === prefix))
      const isMoved = states.some((pack) => pack.folder !== this.#folders.get(prefix))
      const isUnsound = states.some((pack) => !isSound(pack))
      const { folder } = this.#pack(prefix)
      if (inside !== null && inside < this.#last && /has changed on disk since ComfyUI loaded it/.test(text)) return true
      if ((isUnsound || isMoved) && /SyntaxError|There is no node pack|has no node class/.test(text)) return true
      return (this.world.kills.get(folder) ?? 0) >= 3 && /crashed three times/.test(text)
    })
  }
}
