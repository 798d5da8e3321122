import { cp, lstat, readdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isAbsent, unreadable } from '../files'
import { reasonOf } from '../errors/systemError'
import { isBytecode, sourceOf } from './bytecode'
import { flushFile, forEach } from './contents'
import { walk } from './foresee'
import { keptIn, nameIn, pathIn, type Whole } from './snapshot'

/** What keeps a file from its place: a folder or special file there, or what is no folder where one of its folders has to be; null: nothing. Throws FILE_UNREADABLE. */
export async function inTheWay(path: string): Promise<string | null> {
  try {
    const found = await lstat(path).catch((error: unknown) => (isAbsent(error) ? null : Promise.reject(error)))
    if (found) return found.isFile() || found.isSymbolicLink() ? null : path
    let place = dirname(path)
    while (!(await lstat(place).then(() => true, (error: unknown) => (isAbsent(error) ? false : Promise.reject(error))))) place = dirname(place)
    return (await stat(place).then((there) => there.isDirectory(), () => false)) ? null : place
  } catch (cause) {
    throw unreadable(path, reasonOf(cause), { cause })
  }
}

/** Whether the undoing itself takes it away: a file that the change wrote, or a folder that it made, with nothing of anybody else in it. */
async function goesAnyway(place: string, ours: ReadonlySet<string>, made: ReadonlySet<string>): Promise<boolean> {
  const found = await lstat(place)
  if (!found.isDirectory()) return ours.has(place) && (found.isFile() || found.isSymbolicLink())
  const entries = await readdir(place, { withFileTypes: true, recursive: true })
  const goes = (path: string): boolean => ours.has(path) || (isBytecode(path) && ours.has(sourceOf(path)))
  const isFree = (path: string): boolean => made.has(path) || basename(path) === '__pycache__'
  return made.has(place) && entries.every((entry) => (entry.isDirectory() ? isFree : goes)(join(entry.parentPath, entry.name)))
}

/** What somebody has put in the place of files that are to be put back, or of their folders. Throws FILE_UNREADABLE. */
export async function obstacles(snapshot: Whole): Promise<string[]> {
  const { site, written, folders } = snapshot
  const [ours, made] = [new Set(written.map(({ path }) => pathIn(site, path))), new Set(folders.map((folder) => pathIn(site, folder)))]
  const found = new Set<string>()
  await forEach(keptIn(snapshot).keys(), async (path) => {
    if (isBytecode(path)) return // it is put back where it can be, and Python makes it again
    const place = await inTheWay(pathIn(site, path))
    if (place !== null && !(await goesAnyway(place, ours, made))) found.add(nameIn(site, place))
  })
  return [...found].sort()
}

/** Copies what stands in the way and puts the copy on the disk. Special files have no content. */
export async function copyObstacle(from: string, to: string): Promise<void> {
  const hasContent = (path: string): Promise<boolean> => lstat(path).then((found) => found.isFile() || found.isDirectory() || found.isSymbolicLink())
  await cp(from, to, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true, filter: hasContent })
  const found = await lstat(to).catch(() => null)
  const files = found?.isDirectory() ? await walk(to) : found ? [to] : []
  await forEach(files, async (file) => {
    if ((await lstat(file)).isFile()) await flushFile(file)
  })
}
