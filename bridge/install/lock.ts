import { parse, stringify, type TomlTable } from 'smol-toml'
import { z } from 'zod'
import { EnvCombination, EnvKind } from '../../schemas/env'
import { BridgeError } from '../errors/bridgeError'
import { normalizeName } from '../resolve/requirement'
import { filenameOf } from '../resolve/wheelName'
import type { Wanted } from './download'

const LockedWheel = z.looseObject({
  name: z.string().optional(),
  url: z.string().optional(),
  path: z.string().optional(),
  size: z.number().optional(),
  hashes: z.record(z.string(), z.string()).optional(),
})
const LockedPackage = z.looseObject({
  name: z.string(),
  version: z.string().optional(),
  wheels: z.array(LockedWheel).optional(),
  archive: LockedWheel.optional(),
})
export type LockedPackage = z.infer<typeof LockedPackage>

/** What `pylock.toml` (PEP 751) has no field for, in its `[tool]` table. */
const OurTable = z.strictObject({
  schema: z.literal(1),
  pack: z.string(),
  kind: EnvKind,
  combination: EnvCombination.optional(),
  python: z.string().describe('version of the interpreter that the lock was made for'),
  requirements: z.array(z.string()),
  probe: z.array(z.string()).describe('distributions whose import is tried'),
  direct: z.array(z.string()).describe('packages that we fetch and inspect ourselves, and give to uv as files'),
})
const LockFile = z.looseObject({
  'lock-version': z.string(),
  packages: z.array(LockedPackage).optional(),
  tool: z.looseObject({ 'comfyui-envmanager': OurTable }),
})

/** An env's lock: exactly which files it is made of. On disk it is a `pylock.toml` that uv and pip read as well. */
export interface EnvLock extends z.infer<typeof OurTable> {
  packages: LockedPackage[]
}

/** Packages in the lock that uv made; empty text has none. */
export function packagesOf(pylock: string): LockedPackage[] {
  const { packages } = z.looseObject({ packages: z.array(LockedPackage).optional() }).parse(parse(pylock))
  return packages ?? []
}

/** One wheel of ours as a lock entry. A wheel without a known hash is pinned by address alone until it was fetched. */
export function archivePackage(name: string, version: string, { url, sha256 }: Wanted, bytes: number | null): LockedPackage {
  return { name, version, archive: { url, ...(bytes !== null && { size: bytes }), hashes: sha256 ? { sha256 } : {} } }
}

export function renderLock({ packages, ...ours }: EnvLock): string {
  const { combination, ...table } = ours
  const tool = { 'comfyui-envmanager': { ...table, ...(combination && { combination: withoutNull(combination) }) } }
  const content = { 'lock-version': '1.0', 'created-by': 'comfyui-envmanager', packages, tool }
  return stringify(content as unknown as TomlTable)
}

/** TOML has no null: a torch for the CPU is written as CUDA `none`. */
const withoutNull = (combination: EnvCombination): Record<string, string> => ({ ...combination, cuda: combination.cuda ?? 'none' })

/** Reads a lock that we wrote. Throws CONFIG_INVALID for any other file. */
export function parseLock(text: string, path: string): EnvLock {
  try {
    const raw = parse(text)
    const table = (raw.tool as TomlTable | undefined)?.['comfyui-envmanager'] as TomlTable | undefined
    const combination = table?.combination as TomlTable | undefined
    if (combination?.cuda === 'none') (combination as Record<string, unknown>).cuda = null
    const { packages, tool } = LockFile.parse(raw)
    return { ...tool['comfyui-envmanager'], packages: packages ?? [] }
  } catch (cause) {
    throw new BridgeError('CONFIG_INVALID', `${path} is no lock of an environment (pylock.toml with a [tool.comfyui-envmanager] table).`, { cause })
  }
}

const isDirect = ({ direct }: EnvLock, { name }: LockedPackage): boolean => direct.includes(normalizeName(name))

/** The part that uv installs, as a lock file; null: nothing. */
export function uvLock(lock: EnvLock): string | null {
  const packages = lock.packages.filter((item) => !isDirect(lock, item))
  if (packages.length === 0) return null
  return stringify({ 'lock-version': '1.0', 'created-by': 'comfyui-envmanager', packages } as unknown as TomlTable)
}

/** The wheels that we fetch ourselves. */
export function directWheels(lock: EnvLock): Wanted[] {
  return lock.packages.flatMap((item) => {
    const url = isDirect(lock, item) ? item.archive?.url : undefined
    return url ? [{ url, filename: filenameOf(url), sha256: item.archive?.hashes?.sha256 ?? null }] : []
  })
}

/** The lock with the content hashes of what was really fetched. */
export function withHashes(lock: EnvLock, hashes: ReadonlyMap<string, string>): EnvLock {
  const packages = lock.packages.map((item) => {
    const sha256 = item.archive?.url ? hashes.get(item.archive.url) : undefined
    return sha256 ? { ...item, archive: { ...item.archive, hashes: { sha256 } } } : item
  })
  return { ...lock, packages }
}

/** Address and size of what a package is installed from. */
export function fileOf({ wheels, archive }: LockedPackage): { url: string | null; bytes: number | null } {
  const file = archive ?? wheels?.[0]
  return { url: file?.url ?? null, bytes: file?.size ?? null }
}
