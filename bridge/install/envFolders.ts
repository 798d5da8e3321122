import { readdirSync } from 'node:fs'
import { lstat, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { EnvRecord } from '../../schemas/env'
import { bytesNow, isAbsent, namesIn } from '../files'
import { isFolder, isMarked, MARK, markFolder, markOf, readMark, removeMarked, removeNeverMarked } from '../mark'
import { readState } from '../stateFile'

// What of `envs/<id>/` is ours. Generations, and the folder itself, carry our mark; those of earlier versions are proven by records that name them.

/** The number of a generation, by its folder's name; 0: it is none. */
export const numberOf = (name: string): number => Number(/^gen-(\d+)$/.exec(name)?.[1] ?? 0)

const readRecord = (path: string): Promise<EnvRecord | null> => readState(path, EnvRecord).then((read) => read?.value ?? null, () => null)

/** What whole generations say of themselves, newest first. Their record is written last. */
export async function wholeGenerations(folder: string, id: string): Promise<EnvRecord[]> {
  const names = (await namesIn(folder)).filter((name) => numberOf(name) > 0).sort((a, b) => numberOf(b) - numberOf(a))
  const records = await Promise.all(names.map((name) => readRecord(join(folder, name, 'envmanager.json'))))
  return records.flatMap((record, at) => (record && record.id === id && record.generation === numberOf(names[at] ?? '') ? [record] : []))
}

const generationName = (id: string, generation: number): string => `${id}/gen-${generation}`

/** Whether a folder in an env's is a generation that we have made. */
async function isOurGeneration(folder: string, id: string, name: string): Promise<boolean> {
  const path = join(folder, name)
  if (numberOf(name) === 0 || !isFolder(path)) return false
  if (markOf(path)) return isMarked(path, 'generation', generationName(id, numberOf(name)))
  const record = await readRecord(join(path, 'envmanager.json'))
  return record !== null && record.id === id && record.generation === numberOf(name)
}

/** Whether an env's folder is ours. Throws FILE_UNREADABLE where its mark cannot be read: then that is not known. */
export async function isOurEnv(folder: string, id: string): Promise<boolean> {
  if (!isFolder(folder)) return false
  const mark = readMark(folder)
  if (mark) return mark.kind === 'env' && mark.name === id
  return (await readRecord(join(folder, 'env.json')))?.id === id || (await wholeGenerations(folder, id)).length > 0
}

/** A folder for a new generation, marked before anything else is in it. Throws DISK_FULL or FILE_UNWRITABLE, and leaves no folder behind that it made. */
export async function makeGeneration(folder: string, id: string, generation: number): Promise<string> {
  const path = join(folder, `gen-${generation}`)
  const made = new Set([path, folder].filter((one) => !isFolder(one)))
  try {
    await markFolder(folder, 'env', id)
    await markFolder(path, 'generation', generationName(id, generation))
    return path
  } catch (error) {
    if (made.has(path)) await rmdir(path).catch(() => undefined) // what has no mark is empty
    if (made.has(folder)) await removeIfUnused(folder, id).then(() => rmdir(folder)).catch(() => undefined)
    throw error
  }
}

/** Deletes a generation if it is ours. What an earlier version left half-made has no proof, and stays. */
export async function removeGeneration(folder: string, id: string, name: string): Promise<void> {
  if (!(await isOurGeneration(folder, id, name))) {
    // made by us a moment before a kill
    if (numberOf(name) > 0 && isFolder(join(folder, name)) && isMarked(folder, 'env', id)) await removeNeverMarked(join(folder, name)).catch(() => undefined)
    return
  }
  const path = join(folder, name)
  await markFolder(path, 'generation', generationName(id, numberOf(name))).catch(() => undefined) // on a full disk it goes without
  // what a kill or an error leaves of it is not taken for whole; one without a mark is known by this record alone
  if (markOf(path)) await rm(join(path, 'envmanager.json'), { force: true })
  await removeMarked(path)
}

/** Our files in an env's folder. */
const FILES = /^env\.json(\.damaged|\.unreadable|\.(\d+-)?[0-9a-f]{12}\.tmp)?$/

/** Takes our mark from an env's folder in which nothing else of ours is, and deletes it if nothing is. */
export async function removeIfUnused(folder: string, id: string): Promise<void> {
  const names = await namesIn(folder)
  if (!isMarked(folder, 'env', id) || names.some((name) => numberOf(name) > 0 || FILES.test(name))) return
  await rm(join(folder, MARK), { force: true })
  if (names.length === 1) await rmdir(folder)
}

/** What is in an env's folder that we have not made. */
export async function foreignIn(folder: string, id: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => name !== MARK && !FILES.test(name))
  const areOurs = await Promise.all(names.map((name) => isOurGeneration(folder, id, name)))
  return names.filter((_, at) => !areOurs[at])
}

const isThere = (path: string): Promise<boolean> => lstat(path).then(() => true, (error: unknown) => !isAbsent(error))

/**
 * Moves what somebody else has put into an env's folder back to where it was: at once, or one by one where a new env has that place. Nothing there is replaced,
 * and our mark goes last, so that the next sweep goes on with what a kill or an error has left.
 */
async function giveBack(folder: string, before: string): Promise<void> {
  if (!(await isThere(before))) {
    await rename(folder, before)
    return rm(join(before, MARK), { force: true })
  }
  if (!isFolder(before)) return
  for (const name of await readdir(folder)) if (name !== MARK && !(await isThere(join(before, name)))) await rename(join(folder, name), join(before, name))
  if ((await readdir(folder)).some((name) => name !== MARK)) return
  await rm(join(folder, MARK), { force: true })
  await rmdir(folder)
}

/** Deletes what is ours of an env that was put out of use, its mark last. What somebody else has put there goes back to where it was. */
export async function removeEnv(folder: string, id: string, before: string): Promise<void> {
  if (!(await isOurEnv(folder, id))) return
  await markFolder(folder, 'env', id).catch(() => undefined)
  const names = await readdir(folder)
  for (const name of names) if (numberOf(name) > 0) await removeGeneration(folder, id, name)
  for (const name of names) if (FILES.test(name)) await rm(join(folder, name), { force: true })
  const left = (await readdir(folder)).filter((name) => name !== MARK)
  if (left.some((name) => numberOf(name) > 0 && isMarked(join(folder, name), 'generation', generationName(id, numberOf(name))))) return // still written into: the next time
  if (left.length > 0) return giveBack(folder, before)
  await rm(join(folder, MARK), { force: true })
  await rmdir(folder)
}

/** Whether an env's records say that it is of a pack. */
export function isEnvOf(folder: string, pack: string): boolean {
  const says = (path: string): boolean => {
    try {
      return (JSON.parse(bytesNow(path).toString()) as { pack?: unknown } | null)?.pack === pack
    } catch {
      return false
    }
  }
  const generations = (): string[] => {
    try {
      return readdirSync(folder).filter((name) => numberOf(name) > 0)
    } catch {
      return []
    }
  }
  return says(join(folder, 'env.json')) || generations().some((name) => says(join(folder, name, 'envmanager.json')))
}
