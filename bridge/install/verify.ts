import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { bytesIn } from '../files'
import { distInfoOf } from '../packs/installed'
import { endOf, run } from '../run'
import { parseRecord, type RecordRow } from './record'

async function wrongFile(site: string, { path, hash }: RecordRow): Promise<string | null> {
  if (hash === null) return null
  const content = await bytesIn(join(site, path))
  if (content === null) return `${path} is missing`
  return createHash('sha256').update(content).digest('base64url') === hash ? null : `${path} has another content`
}

export interface Damage {
  /** Name of the distribution, as its folder has it. */
  distribution: string
  /** What is wrong, in a few words. */
  what: string
}

/** Compares every installed file with the hash that its wheel recorded. Returns what is wrong, the first few. */
export async function findDamage(site: string): Promise<Damage[]> {
  const damage: Damage[] = []
  for (const entry of await readdir(site)) {
    if (!entry.endsWith('.dist-info')) continue
    const distribution = entry.split('-')[0] ?? entry
    const text = (await bytesIn(join(site, entry, 'RECORD')))?.toString() ?? null
    if (text === null) {
      damage.push({ distribution, what: `${entry} has no RECORD` })
      continue
    }
    for (const row of parseRecord(text)) {
      const what = await wrongFile(site, row)
      if (what && damage.length < 20) damage.push({ distribution, what })
    }
  }
  return damage
}

/** Files of one installed distribution that are missing or have another content than its wheel recorded. */
export async function wrongFiles(site: string, distribution: string): Promise<string[]> {
  const info = await distInfoOf(site, distribution)
  const text = info && (await bytesIn(join(site, info, 'RECORD')))?.toString()
  if (!text) return [`${distribution} has no RECORD`]
  const found = await Promise.all(parseRecord(text).map((row) => wrongFile(site, row)))
  return found.filter((wrong) => wrong !== null)
}

/** Importable top-level names of a distribution, from its RECORD. */
async function topLevel(site: string, distribution: string): Promise<string[]> {
  const info = await distInfoOf(site, distribution)
  const text = info && (await bytesIn(join(site, info, 'RECORD')))?.toString()
  const names = parseRecord(text ?? '').flatMap(({ path }) => {
    const match = /^([A-Za-z_]\w*)(?:\/__init__\.py|\.py|(?:\.[\w-]+)?\.(?:so|pyd))$/.exec(path)
    return match?.[1] ? [match[1]] : []
  })
  return [...new Set(names)].filter((name) => !name.startsWith('_'))
}

const IMPORT_MS = 180_000
/** Lines: a traceback has fewer. */
const MOST_SAID = 500

/** Imports a distribution in a process of its own; null if that works, else the last that Python said, a line each. */
export async function importFailure(python: string, site: string, distribution: string, signal: AbortSignal): Promise<string[] | null> {
  const names = await topLevel(site, distribution)
  if (names.length === 0) return null
  // all in one pipe and unbuffered, so that why it failed comes last
  const code = `import importlib, os, sys\nos.dup2(2, 1)\nfor n in sys.argv[1:]: importlib.import_module(n)`
  const said: string[] = []
  const onLine = (text: string): void => {
    if (text.trim() && said.push(text) > MOST_SAID) said.shift()
  }
  const ran = await run(python, ['-I', '-u', '-c', code, ...names], IMPORT_MS, { signal, onLine, isBound: true })
  if (ran.code === 0) return null
  const end = `the process ${endOf(ran, IMPORT_MS)}`
  return said.length > 0 && !ran.isLate ? said : [...said, end]
}
