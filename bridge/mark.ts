import { lstatSync, readFileSync } from 'node:fs'
import { readdir, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { BridgeError } from './errors/bridgeError'
import { errnoOf, unreadable, writeAtomic } from './files'

/** The file by which a folder is known as made by us. Nothing is deleted, moved or given other rights that has none, lies in no folder that has one, and is not proven by a record of ours. */
export const MARK = '.comfyui-envmanager'
const UNFINISHED = /^\.comfyui-envmanager\.\d+-[0-9a-f]{12}\.tmp$/

/** What a marked folder is. The names of an env, a generation, a snapshot and a wheel are in their marks, so that a copy that somebody made is nobody's. */
export type MarkedKind = 'home' | 'cache' | 'env' | 'generation' | 'snapshot' | 'wheel' | 'plan'

const Mark = z.object({ schema: z.number(), made_by: z.literal('comfyui-envmanager'), kind: z.string(), name: z.string() })
type Mark = z.infer<typeof Mark>

const found = (path: string) => {
  try {
    return lstatSync(path, { throwIfNoEntry: false })
  } catch (error) {
    // what lies below a file is not there
    if (errnoOf(error) === 'ENOTDIR') return undefined
    throw unreadable(path, error instanceof Error ? error.message : String(error), { cause: error })
  }
}

/** Whether a path is a link. Throws FILE_UNREADABLE. */
export const isLink = (path: string): boolean => found(path)?.isSymbolicLink() ?? false

/** Whether it is a folder, and no link to one. What cannot be looked at is none. */
export function isFolder(path: string): boolean {
  try {
    return found(path)?.isDirectory() ?? false
  } catch {
    return false
  }
}

/** What a folder's mark says; null: it has none of ours, or is a link. Throws FILE_UNREADABLE: whether it has one is not known then. */
export function readMark(folder: string): Mark | null {
  const path = join(folder, MARK)
  if (!isFolder(folder) || !found(path)?.isFile()) return null
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw unreadable(path, error instanceof Error ? error.message : String(error), { cause: error })
  }
  try {
    return Mark.parse(JSON.parse(text))
  } catch {
    return null
  }
}

/** The same for who does nothing to a folder whose mark cannot be read. */
export function markOf(folder: string): Mark | null {
  try {
    return readMark(folder)
  } catch {
    return null
  }
}

export function isMarked(folder: string, kind: MarkedKind, name = ''): boolean {
  const mark = markOf(folder)
  return mark !== null && mark.kind === kind && mark.name === name
}

/** Marks a folder that we have made, or whose records prove that an earlier version did. A mark that is there stays. Throws FILE_UNREADABLE, DISK_FULL or FILE_UNWRITABLE. */
export async function markFolder(folder: string, kind: MarkedKind, name = ''): Promise<void> {
  if (readMark(folder)) return
  const mark: Mark & { what: string } = { schema: 1, made_by: 'comfyui-envmanager', kind, name, what: 'comfyui-envmanager made this folder and may delete what it has made in it.' }
  await writeAtomic(join(folder, MARK), `${JSON.stringify(mark)}\n`)
}

/** Deletes what lies in a folder of ours, except its mark. Links are removed and not followed. */
export async function emptyMarked(folder: string): Promise<void> {
  for (const name of await readdir(folder)) if (name !== MARK) await rm(join(folder, name), { recursive: true, force: true })
}

/** Deletes a folder of ours, its mark last: what a kill leaves of it is still known. */
export async function removeMarked(folder: string): Promise<void> {
  await emptyMarked(folder)
  const left = await readdir(folder)
  if (left.some((name) => name !== MARK)) return // somebody still writes into it: the next time
  await rm(join(folder, MARK), { force: true })
  await rmdir(folder)
}

/** Deletes a folder that was about to get our mark when its maker was killed: nothing is in it but marks that were not finished. Anything else stays. */
export async function removeNeverMarked(folder: string): Promise<void> {
  const names = await readdir(folder)
  if (!names.every((name) => UNFINISHED.test(name))) return
  for (const name of names) await rm(join(folder, name), { force: true })
  await rmdir(folder)
}

/** Throws NOT_OURS for a link: nothing is made, changed or deleted behind one. */
export function refuseLink(path: string): void {
  if (isLink(path)) throw new BridgeError('NOT_OURS', `${path} is a link to another folder, and nothing is changed behind a link.`, { hint: 'Put the folder itself there, or move all environments with COMFY_ENV_HOME.' })
}
