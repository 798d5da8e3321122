import { existsSync } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { byName, valueOf } from '../../schemas/byName'
import { toWire } from '../errors/bridgeError'
import { isAbsent } from '../files'
import { isSamePack, type PackIdentity, packIdentity } from '../packs/identity'
import type { PackFolder } from '../packs/scan'
import { lockIn } from '../osLock'
import { readState, updateState } from '../stateFile'
import { settleProblem } from './background'
import { type Context, packRoots, saveForgotten } from './context'

/** Where a pack was last seen and what it said that it is. `others`: packs of which a user has said that they are not this one. */
const SeenPack = z.strictObject({ dir: z.string(), project: z.string().nullable(), repository: z.string().nullable(), others: z.array(z.string()) })
type SeenPack = z.infer<typeof SeenPack>

/** `packs.json`: the packs that were ever seen here. */
const SeenPacks = z.strictObject({ schema: z.literal(1), packs: byName(SeenPack) })

const pathOf = (home: string): string => join(home, 'packs.json')

const seenPacks = async (home: string): Promise<Record<string, SeenPack>> => (await readState(pathOf(home), SeenPacks))?.value.packs ?? {}

const change = (home: string, changed: (packs: Record<string, SeenPack>) => Record<string, SeenPack>) =>
  updateState(pathOf(home), lockIn(home, 'packs.json'), SeenPacks, (before) => ({ schema: 1 as const, packs: changed(before?.packs ?? {}) }))

/** Whether there is nothing at a path. What cannot be looked at may be there. */
const isGone = (path: string): Promise<boolean> => lstat(path).then(() => false, isAbsent)

/** A pack that is there, with what it says that it is. */
type FoundPack = PackFolder & PackIdentity

/** Notes what the packs say that they are, where that is not noted yet. */
async function note(home: string, found: readonly FoundPack[], seen: Record<string, SeenPack>): Promise<void> {
  const isNew = ({ id, dir, project, repository }: FoundPack): boolean => {
    const known = valueOf(seen, id)
    return known?.dir !== dir || known.project !== project || known.repository !== repository
  }
  const changed = found.filter(isNew)
  if (changed.length === 0) return
  const entries = (before: Record<string, SeenPack>) => changed.map(({ id, dir, project, repository }) => [id, { dir, project, repository, others: valueOf(before, id)?.others ?? [] }] as const)
  await change(home, (before) => Object.fromEntries([...Object.entries(before), ...entries(before)]))
}

/** What became of packs that this ComfyUI had. */
interface Found {
  /** Packs that something is chosen for and that are gone: id → where they were; null: not known. */
  gone: ReadonlyMap<string, string | null>
  /** Packs that say that they are one that is gone: id → its id. */
  was: ReadonlyMap<string, string>
}

const NOTHING: Found = { gone: new Map(), was: new Map() }

/** The same as it was last looked for. */
export class GonePacks implements Found {
  #found = NOTHING
  #folders: string[] | null = null

  constructor(private readonly context: Context) {}

  get gone(): Found['gone'] {
    return this.#found.gone
  }

  get was(): Found['was'] {
    return this.#found.was
  }

  /** The next look is at everything again. */
  forget(): void {
    this.#folders = null
  }

  /** Looks again, unless these are the same folders: they have lost nothing since. What cannot be known is a problem to show. */
  async look(found: readonly PackFolder[]): Promise<void> {
    const folders = found.map(({ dir, fault }) => (fault ? `${dir} (${fault.code})` : dir))
    if (packRoots(this.context).length === 0 || isDeepStrictEqual(folders, this.#folders)) return
    const fault = await lookForGone(this.context, found).then((looked) => void (this.#found = looked), (error: unknown) => error)
    settleProblem(this.context, 'Packs that were renamed or removed are not seen', fault === undefined ? null : toWire(fault).message)
    if (fault !== undefined) this.#found = NOTHING
    this.#folders = folders
  }
}

/** Of a pack that is gone: where it was, and what becomes of what was chosen for it. */
export function whyGone(dir: string | null): string {
  const where = dir === null ? 'ComfyUI has no pack of this name.' : `Its folder ${dir} is not there: it was removed, renamed or disabled.`
  return `${where} What was chosen for it is kept until you forget it.`
}

/**
 * Looks which packs are gone, and which of the found ones may be one of them under another name. Only a pack that was seen in a folder of this ComfyUI and is not
 * there any more is gone: another ComfyUI of the home may have packs that this one never had. Throws FILE_UNREADABLE, FILE_UNWRITABLE or DISK_FULL.
 */
async function lookForGone(context: Context, found: readonly PackFolder[]): Promise<Found> {
  const { isolated, classes } = context
  const { envs, settings: { home } } = context.engine
  const chosen = new Set([...isolated, ...[...classes].filter(([, set]) => Object.keys(set).length > 0).map(([pack]) => pack)])
  const isKnown = (id: string): boolean => chosen.has(id) || existsSync(envs.folder(envs.idOf(id)))
  const seen = await seenPacks(home)
  const sound = await Promise.all(found.filter(({ fault }) => fault === undefined).map(async (pack): Promise<FoundPack> => Object.assign({ id: pack.id, dir: pack.dir }, await packIdentity(pack.dir))))
  const absent = await goneFrom(packRoots(context), found, seen)
  const unseen = [...chosen].filter((id) => valueOf(seen, id) === undefined && !found.some((pack) => pack.id === id))
  const gone = new Map([...[...absent].filter(([id]) => isKnown(id)), ...unseen.map((id) => [id, null] as const)])
  const was = new Map<string, string>()
  for (const pack of sound.filter(({ id }) => !isKnown(id))) {
    const before = [...gone.keys()].find((id) => isThatOne(valueOf(seen, id), pack))
    if (before !== undefined) was.set(pack.id, before)
  }
  await note(home, sound, seen)
  return { gone: new Map([...gone].filter(([id]) => chosen.has(id))), was }
}

/** Packs that were seen in one of these folders and are not there any more: id → where. */
async function goneFrom(roots: readonly string[], found: readonly PackFolder[], seen: Record<string, SeenPack>): Promise<Map<string, string>> {
  const ids = new Set(found.map(({ id }) => id))
  const missing = Object.entries(seen).filter(([id, { dir }]) => !ids.has(id) && roots.includes(dirname(dir)))
  const gone = await Promise.all(missing.map(async ([id, { dir }]) => ((await isGone(dir)) ? [[id, dir] as const] : [])))
  return new Map(gone.flat())
}

const isThatOne = (old: SeenPack | undefined, pack: FoundPack): boolean => old !== undefined && !old.others.includes(pack.id) && isSamePack(old, pack)

/** Notes that a pack is not the one that is gone. */
export async function notTheSame(context: Context, pack: string, gone: string): Promise<void> {
  await change(context.engine.settings.home, (before) => {
    const old = valueOf(before, gone)
    return old ? { ...before, [gone]: { ...old, others: [...new Set([...old.others, pack])] } } : before
  })
}

/** Forgets what was chosen for a pack that is gone, and where it was. */
export async function forgetGone(context: Context, gone: string): Promise<void> {
  await saveForgotten(context, gone)
  context.isolated.delete(gone)
  context.classes.delete(gone)
  await change(context.engine.settings.home, (before) => Object.fromEntries(Object.entries(before).filter(([id]) => id !== gone)))
}
