import { join } from 'node:path'
import { valueOf } from '../../schemas/byName'
import { StateFile } from '../../schemas/connection'
import type { HostPack, HostReport } from '../../schemas/shimLink'
import type { Engine } from '../engine'
import { toWire } from '../errors/bridgeError'
import { lockIn } from '../osLock'
import { findPack, type PackFolder } from '../packs/scan'
import type { RunFolder } from '../runFolder'
import { readState, updateState } from '../stateFile'
import type { Store } from '../state/store'
import { Journal } from './journal'

/** What the services of one bridge share. */
export interface Context {
  engine: Engine
  store: Store
  journal: Journal
  /** Files of this bridge alone. */
  run: Pick<RunFolder, 'name' | 'path'>
  /** Folder for shared memory with names; null: no sandbox needs one. */
  segments: string | null
  /** What is wrong here beyond what `hostInfo` finds. */
  problems: string[]
  /** Those of them that are about `settings.toml` as it was last read. */
  settingsProblems: string[]
  /** The connected ComfyUI; null before its first report and after it has gone. */
  host: HostReport | null
  /** How packs fared in ComfyUI. */
  hostPacks: Map<string, HostPack>
  /** Packs that the user has set to run in a worker. */
  isolated: Set<string>
  /** Node classes that the user has set apart from their pack: pack → class → whether it runs in a worker. */
  classes: Map<string, Record<string, boolean>>
}

export function packRoots({ host, engine }: Context): string[] {
  if (host) return host.pack_roots
  const base = engine.settings.base ?? engine.settings.comfyui
  return base ? [join(base, 'custom_nodes')] : []
}

export const packFolder = (context: Context, id: string): Promise<PackFolder> => findPack(packRoots(context), id)

export const statePath = (home: string): string => join(home, 'state.json')

/** What the user has chosen, as it is on disk now. Throws FILE_UNREADABLE. */
export async function savedChoices(home: string): Promise<Pick<Context, 'isolated' | 'classes'>> {
  const value = (await readState(statePath(home), StateFile))?.value
  return { isolated: new Set(value?.isolated), classes: new Map(Object.entries(value?.classes ?? {})) }
}

/** What begins the problem of choices that cannot be read. */
export const CHOICES_UNKNOWN = 'What is isolated is not known, and cannot be changed'

/** The same for a start, and what is wrong with that file. */
async function readChoices(home: string): Promise<{ value: StateFile | null; problems: string[] }> {
  try {
    const read = await readState(statePath(home), StateFile)
    return { value: read?.value ?? null, problems: read?.note ? [read.note] : [] }
  } catch (error) {
    return { value: null, problems: [`${CHOICES_UNKNOWN}: ${toWire(error).message}`] }
  }
}

/** A command runs no workers and has no folder of its own. */
const COMMAND = { name: 'command', path: '' }

/** A context with what the user has chosen. Whatever cannot be read of that is a problem to show, and keeps nothing from starting. */
export async function newContext(engine: Engine, store: Store, run: Context['run'] = COMMAND, segments: string | null = null): Promise<Context> {
  const { home, unknown, fault } = engine.settings
  const { value, problems } = await readChoices(home)
  const settingsProblems = [...unknown, ...(fault ? [`The settings are not known: ${fault.message}`] : [])]
  const all = [...settingsProblems, ...problems, ...(await engine.envs.problems())]
  return { engine, store, run, segments, problems: all, settingsProblems, journal: new Journal(home, run.name), host: null, hostPacks: new Map(), isolated: new Set(value?.isolated), classes: new Map(Object.entries(value?.classes ?? {})) }
}

/** What is chosen for one pack: whether it runs in a worker, and which of its classes are set apart. */
export interface Chosen {
  on: boolean
  classes: Record<string, boolean> | undefined
}

/** One choice of a user: of a pack, or of one of its node classes (null: as its pack). */
export type Choice = { on: boolean } | { name: string; on: boolean | null }

export function withChoice(chosen: Chosen, choice: Choice): Chosen {
  if (!('name' in choice)) return { ...chosen, on: choice.on }
  const { [choice.name]: _, ...others } = chosen.classes ?? {}
  const classes = choice.on === null ? others : { ...others, [choice.name]: choice.on }
  return { ...chosen, classes: Object.keys(classes).length > 0 ? classes : undefined }
}

/** The choice that takes another one back. */
export const takenBack = (before: Chosen, choice: Choice): Choice => ('name' in choice ? { name: choice.name, on: valueOf(before.classes ?? {}, choice.name) ?? null } : { on: before.on })

/** Writes one choice, and leaves all others as they are on disk: another bridge may have written some meanwhile. Throws FILE_UNREADABLE, FILE_UNWRITABLE or DISK_FULL. */
export async function saveChoice({ engine }: Context, pack: string, choice: Choice): Promise<void> {
  const { home } = engine.settings
  await updateState(statePath(home), lockIn(home, 'state.json'), StateFile, (before): StateFile => {
    const { [pack]: own, ...others } = before?.classes ?? {}
    const isolated = (before?.isolated ?? []).filter((name) => name !== pack)
    const { on, classes } = withChoice({ on: before?.isolated.includes(pack) ?? false, classes: own }, choice)
    return { schema: 1, isolated: (on ? [...isolated, pack] : isolated).sort(), classes: classes ? { ...others, [pack]: classes } : others }
  })
}

/** Takes all choices for one pack away. Throws as `saveChoice` does. */
export async function saveForgotten({ engine }: Context, pack: string): Promise<void> {
  const { home } = engine.settings
  await updateState(statePath(home), lockIn(home, 'state.json'), StateFile, (before): StateFile => {
    const { [pack]: _, ...classes } = before?.classes ?? {}
    return { schema: 1, isolated: (before?.isolated ?? []).filter((name) => name !== pack), classes }
  })
}

/** Whether a worker runs anything of a pack: itself, or one of its node classes. */
export const usesWorker = ({ isolated, classes }: Context, pack: string): boolean => isolated.has(pack) || Object.values(classes.get(pack) ?? {}).includes(true)
