import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import { normalizeName } from '../resolve/requirement'
import { run } from '../run'

interface RecordRow {
  path: string
  hash: string | null
}

/** Rows of a wheel's RECORD (PEP 376): `path,sha256=<base64url>,size`; a quoted path may hold commas. */
function parseRecord(text: string): RecordRow[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const match = /^(?:"((?:[^"]|"")*)"|([^,]*)),([^,]*),/.exec(line)
    const path = match?.[1]?.replaceAll('""', '"') ?? match?.[2]
    return path ? [{ path, hash: /^sha256=(.+)$/.exec(match?.[3] ?? '')?.[1] ?? null }] : []
  })
}

async function wrongFile(site: string, { path, hash }: RecordRow): Promise<string | null> {
  if (hash === null) return null
  const content = await readFile(join(site, path)).catch(() => null)
  if (content === null) return `${path} is missing`
  return createHash('sha256').update(content).digest('base64url') === hash ? null : `${path} has another content`
}

/** Compares every installed file with the hash that its wheel recorded. Returns what is wrong, the first few. */
export async function checkRecords(site: string): Promise<string[]> {
  const wrong: string[] = []
  for (const entry of await readdir(site)) {
    if (!entry.endsWith('.dist-info')) continue
    const text = await readFile(join(site, entry, 'RECORD'), 'utf8').catch(() => null)
    if (text === null) {
      wrong.push(`${entry} has no RECORD`)
      continue
    }
    for (const row of parseRecord(text)) {
      const found = await wrongFile(site, row)
      if (found && wrong.length < 20) wrong.push(found)
    }
  }
  return wrong
}

/** Importable top-level names of a distribution, from its RECORD. */
async function topLevel(site: string, distribution: string): Promise<string[]> {
  const entries = await readdir(site)
  const info = entries.find((entry) => entry.endsWith('.dist-info') && normalizeName(entry.split('-')[0] ?? '') === distribution)
  const text = info && (await readFile(join(site, info, 'RECORD'), 'utf8').catch(() => ''))
  const names = parseRecord(text ?? '').flatMap(({ path }) => {
    const match = /^([A-Za-z_]\w*)(?:\/__init__\.py|\.py|(?:\.[\w-]+)?\.(?:so|pyd))$/.exec(path)
    return match?.[1] ? [match[1]] : []
  })
  return [...new Set(names)].filter((name) => !name.startsWith('_'))
}

const IMPORT_MS = 180_000

/** Imports the given distributions in a process of their own. Throws VERIFY_FAILED with what Python said. */
export async function importProbe(python: string, site: string, distributions: string[], log: (text: string) => void): Promise<void> {
  for (const distribution of distributions) {
    const names = await topLevel(site, distribution)
    if (names.length === 0) continue
    const code = `import importlib, sys\nfor n in sys.argv[1:]: importlib.import_module(n)`
    const { code: exit, stderr } = await run(python, ['-I', '-c', code, ...names], IMPORT_MS)
    if (exit !== 0) {
      const last = stderr.trim().split('\n').at(-1) ?? `exit code ${exit}`
      stderr.trim().split('\n').forEach(log)
      throw new BridgeError('VERIFY_FAILED', `${distribution} was installed, but cannot be imported: ${last}.`, { details: { names } })
    }
    log(`import ${names.join(', ')}: ok`)
  }
}
