import { open, readdir, rm, rmdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

const CACHE = '__pycache__'

/** Whether a path is Python's own kept bytecode: it is made again at any time, so nobody's change of it counts. */
export const isBytecode = (path: string): boolean => basename(dirname(path)) === CACHE && path.endsWith('.pyc')

/** The source of a file of bytecode: `a/__pycache__/b.cpython-311.opt-1.pyc` is of `a/b.py` (PEP 3147). */
export function sourceOf(path: string): string {
  return join(dirname(dirname(path)), `${basename(path).replace(/\.[^.]+(\.opt-\w+)?\.pyc$/, '')}.py`)
}

const seconds = (ms: number): number => Math.floor(ms / 1000) >>> 0

/** Whether bytecode is of exactly the source that lies there, by the time and size in its head (PEP 552). Bytecode by hash is left to Python to make again. */
export async function isOfItsSource(bytecode: string, source: string): Promise<boolean> {
  const file = await open(bytecode)
  const head = Buffer.alloc(16)
  const { bytesRead } = await file.read(head, 0, 16, 0).finally(() => file.close())
  const found = await stat(source).catch(() => null)
  return bytesRead === 16 && head.readUInt32LE(4) === 0 && found !== null && head.readUInt32LE(8) === seconds(found.mtimeMs) && head.readUInt32LE(12) === found.size >>> 0
}

/** Deletes the bytecode of some sources, so that none of another content decides what runs. `except`: files that stay. */
export async function removeBytecode(sources: Iterable<string>, except: ReadonlySet<string>): Promise<void> {
  const wanted = new Set([...sources].filter((path) => path.endsWith('.py')))
  for (const folder of new Set([...wanted].map((path) => join(dirname(path), CACHE)))) {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
    const files = entries.filter((entry) => !entry.isDirectory()).map(({ name }) => join(folder, name))
    const doomed = files.filter((path) => isBytecode(path) && wanted.has(sourceOf(path)) && !except.has(path))
    for (const path of doomed) await rm(path, { force: true })
    if (doomed.length === entries.length) await rmdir(folder).catch(() => undefined)
  }
}
