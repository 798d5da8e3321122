import { basename } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import { parseWheelName, type WheelName } from '../resolve/wheelName'
import { normalizeName } from '../resolve/requirement'
import { publicVersion } from '../resolve/versions'
import type { Http } from '../sources/http'
import { headers, openZip, remoteMetadata, type ZipEntry, zipEntries, zipText } from '../sources/wheelMetadata'
import type { Wanted } from './download'
import { parseRecord } from './record'

/** More than any wheel known (torch: 15,000 files, 5 GB unpacked), less than what fills a disk. */
const MOST_FILES = 100_000
const MOST_BYTES = 20e9
/** Deflate reaches 1032:1 at most; honest files of more than a few megabytes stay far below 200:1. */
const MOST_RATIO = 200
const RATIO_MATTERS = 50e6
const SYMLINK = 0o120000

function invalid(filename: string, why: string, cause?: unknown): BridgeError {
  return new BridgeError('WHEEL_INVALID', `${filename} was not installed: ${why}.`, { ...(cause !== undefined && { cause }) })
}

/** Where a file of a wheel ends up: in site-packages, or through `name.data/` elsewhere (PEP 427). */
function problemOfPath({ path, mode }: ZipEntry): string | null {
  const parts = path.split('/')
  if (path.startsWith('/') || parts.includes('..') || /^[A-Za-z]:/.test(path) || path.includes('\\') || path.includes('\0')) {
    return `it holds the path ${JSON.stringify(path)}, which leads out of the environment`
  }
  if ((mode & 0o170000) === SYMLINK) return `it holds a symbolic link, ${path}`
  const scheme = /^[^/]+\.data\/([^/]+)\//.exec(path)?.[1]
  const [first = ''] = scheme === 'purelib' || scheme === 'platlib' ? parts.slice(2) : parts
  if (first.endsWith('.pth')) return `it holds ${path}, which would run code at every start of Python`
  if (/^(site|sitecustomize|usercustomize)\.py$/.test(first)) return `it holds ${path}, which Python runs at every start`
  if (scheme === 'data' && parts.length > 2 && !['share', 'etc', 'include', 'lib', 'bin', 'Scripts'].includes(parts[2] ?? '')) {
    return `it writes ${path} beside the environment’s own folders`
  }
  return null
}

function problemOfSize(entries: ZipEntry[]): string | null {
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0)
  const compressed = entries.reduce((sum, entry) => sum + entry.compressed, 0)
  if (bytes > MOST_BYTES) return `it would unpack to ${(bytes / 1e9).toFixed(0)} GB`
  if (bytes > RATIO_MATTERS && bytes / Math.max(1, compressed) > MOST_RATIO) return `${(bytes / 1e6).toFixed(0)} MB are packed into ${(compressed / 1e6).toFixed(1)} MB, as in a zip bomb`
  return null
}

/** METADATA must be of this name and version; only the local part of the version may be missing. */
function problemOfMetadata(metadata: string, name: WheelName): string | null {
  const [own = ''] = headers(metadata, 'Name')
  const [version = ''] = headers(metadata, 'Version')
  if (normalizeName(own) !== name.package) return `its METADATA is of ${own || 'no package'}`
  if (publicVersion(version) !== name.version) return `its METADATA says version ${version || 'none'}, its name ${name.version}`
  return null
}

/** Compiled modules for another Python than the name says: `_C.cpython-311-x86_64-linux-gnu.so`, `_C.cp311-win_amd64.pyd`. */
function problemOfModules(entries: ZipEntry[], { pythonTags, abiTags }: WheelName): string | null {
  const bound = pythonTags.length === 1 && /^cp\d+t?$/.test(abiTags[0] ?? '') ? abiTags[0] : null
  if (!bound) return null
  for (const { path } of entries) {
    const [, digits] = /\.(?:cpython-|cp)(\d{2,3}t?)-[\w.-]+\.(?:so|pyd)$/.exec(path) ?? []
    if (digits && `cp${digits}` !== bound) return `${path} is for Python ${digits.replace(/^3/, '3.')}, its name says ${bound}`
  }
  return null
}

/** Every file must stand in RECORD, and RECORD must name only files that are there. */
function problemOfRecord(entries: ZipEntry[], record: string): string | null {
  const rows = parseRecord(record)
  const listed = new Map(rows.map((row) => [row.path, row]))
  const files = entries.filter(({ path }) => !path.endsWith('/'))
  const present = new Set(files.map(({ path }) => path))
  const unlisted = files.find(({ path }) => !listed.has(path) && !/\.dist-info\/RECORD(\.\w+)?$/.test(path))
  if (unlisted) return `${unlisted.path} is not in its RECORD`
  const absent = rows.find(({ path }) => !present.has(path))
  if (absent) return `its RECORD names ${absent.path}, which it does not hold`
  const unhashed = rows.find(({ path, hash }) => hash === null && !/\.dist-info\/RECORD(\.\w+)?$/.test(path))
  return unhashed ? `its RECORD has no hash for ${unhashed.path}` : null
}

async function problem(path: string, name: WheelName): Promise<string | null> {
  const zip = await openZip({ path })
  try {
    const entries = await zipEntries(zip, MOST_FILES)
    const wrongPath = entries.map(problemOfPath).find((found) => found !== null)
    if (wrongPath) return wrongPath
    const size = problemOfSize(entries)
    if (size) return size
    const folders = new Set(entries.flatMap((entry) => /^([^/]+\.dist-info)\//.exec(entry.path)?.[1] ?? []))
    if (folders.size !== 1) return folders.size === 0 ? 'it has no .dist-info folder' : 'it has more than one .dist-info folder'
    const file = (own: string): ZipEntry | undefined => entries.find((entry) => entry.path === `${[...folders][0]}/${own}`)
    const [metadata, record] = [file('METADATA'), file('RECORD')]
    if (!metadata || !record || !file('WHEEL')) return 'its .dist-info lacks METADATA, RECORD or WHEEL'
    return (
      problemOfMetadata(await zipText(zip, metadata), name) ??
      problemOfModules(entries, name) ??
      problemOfRecord(entries, await zipText(zip, record))
    )
  } finally {
    zip.close()
  }
}

/** Looks into a wheel before anything of it is unpacked. Throws WHEEL_INVALID with the one thing that is wrong. */
export async function inspectWheel(path: string): Promise<void> {
  const filename = basename(path)
  const name = parseWheelName(filename)
  if (!name) throw invalid(filename, 'installers refuse its name')
  const found = await problem(path, name).catch((cause: unknown) => {
    throw invalid(filename, `it cannot be read (${cause instanceof Error ? cause.message : String(cause)})`, cause)
  })
  if (found) throw invalid(filename, found)
}

/**
 * Reads a remote wheel's METADATA by ranges, a few kilobytes, so that a large file of another package or version is refused
 * before it is downloaded. Servers without ranges are left to `inspectWheel`.
 */
export async function refuseWrongMetadata({ url, filename }: Wanted, http: Http, signal: AbortSignal): Promise<void> {
  const name = parseWheelName(filename)
  if (!name || url.startsWith('file:') || http.isOffline) return
  const metadata = await remoteMetadata({ url, metadataUrl: null, bytes: null }, http, signal).catch(() => null)
  if (signal.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
  const found = metadata === null ? null : problemOfMetadata(metadata, name)
  if (found) throw invalid(filename, `${found} (nothing was downloaded)`)
}
