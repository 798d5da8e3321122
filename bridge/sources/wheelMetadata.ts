import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Entry, fromRandomAccessReader, open, RandomAccessReader, type ZipFile } from 'yauzl'
import type { Candidate } from '../resolve/candidate'
import { normalizeName } from '../resolve/requirement'
import type { Http } from './http'

const SMALL = 4 * 1024 * 1024
const LAZY = { lazyEntries: true, autoClose: false } as const

/** One file of a wheel, as its directory lists it. */
export interface ZipEntry {
  path: string
  bytes: number
  compressed: number
  /** Unix mode bits from the external attributes; 0 where the zip was not made on Unix. */
  mode: number
  entry: Entry
}

/** Reads parts of a remote file by range requests; refuses servers that send it whole. */
class RangeReader extends RandomAccessReader {
  constructor(
    private readonly http: Http,
    private readonly url: string,
    private readonly signal?: AbortSignal,
  ) {
    super()
  }

  override _readStreamForRange(start: number, end: number): Readable {
    const { http, url, signal } = this
    async function* bytes(): AsyncGenerator<Uint8Array> {
      const response = await http.fromAny(url, (address) => http.send(address, { headers: { range: `bytes=${start}-${end - 1}` } }, signal))
      if (response.status !== 206 || !response.body) {
        await response.body?.cancel()
        throw new Error(`${url} does not serve ranges (HTTP ${response.status})`)
      }
      yield* response.body as unknown as AsyncIterable<Uint8Array>
    }
    return Readable.from(bytes())
  }
}

/** Opens a wheel's zip: a file here, or a remote one of known size through ranges. */
export async function openZip(where: { path: string } | { url: string; bytes: number; http: Http; signal?: AbortSignal }): Promise<ZipFile> {
  if ('path' in where) return promisify<string, typeof LAZY, ZipFile>(open)(where.path, LAZY)
  const reader = new RangeReader(where.http, where.url, where.signal)
  return new Promise((resolve, reject) => {
    fromRandomAccessReader(reader, where.bytes, LAZY, (error, zip) => (error ? reject(error) : resolve(zip)))
  })
}

/** Every entry of a zip's directory. Throws where yauzl finds a path trick (absolute, `..`, backslash) or a broken directory. */
export function zipEntries(zip: ZipFile, most: number): Promise<ZipEntry[]> {
  return new Promise((resolve, reject) => {
    const found: ZipEntry[] = []
    zip.on('error', reject)
    zip.on('end', () => resolve(found))
    zip.on('entry', (entry: Entry) => {
      const { fileName: path, uncompressedSize: bytes, compressedSize: compressed, externalFileAttributes } = entry
      found.push({ path, bytes, compressed, mode: externalFileAttributes >>> 16, entry })
      if (found.length > most) reject(new Error(`it holds more than ${most} files`))
      else zip.readEntry()
    })
    zip.readEntry()
  })
}

/** A small file of a zip as text. */
export async function zipText(zip: ZipFile, { entry, bytes, path }: ZipEntry): Promise<string> {
  if (bytes > SMALL) throw new Error(`${path} is larger than 4 MB`)
  const stream = await promisify<Entry, Readable>((e, done) => zip.openReadStream(e, done))(entry)
  return text(stream)
}

/** The METADATA of a wheel that is not here yet: alone where the index offers that, else by ranges of the wheel; null if neither. */
export async function remoteMetadata(candidate: Pick<Candidate, 'url' | 'metadataUrl' | 'bytes'>, http: Http, signal?: AbortSignal): Promise<string | null> {
  const { url, metadataUrl } = candidate
  if (metadataUrl) {
    const page = await http.page(metadataUrl, signal)
    if (page) return page.text
  }
  const local = url.startsWith('file:')
  const bytes = local ? 0 : (candidate.bytes ?? (await http.bytes(url, signal)))
  if (bytes === null) return null
  const zip = await openZip(local ? { path: fileURLToPath(url) } : { url, bytes, http, ...(signal && { signal }) })
  try {
    const entries = await zipEntries(zip, 100_000)
    const metadata = entries.find(({ path }) => /^[^/]+\.dist-info\/METADATA$/.test(path))
    return metadata ? await zipText(zip, metadata) : null
  } finally {
    zip.close()
  }
}

/** Values of a METADATA header (core metadata specification): the lines before the first empty one. */
export function headers(metadata: string, name: string): string[] {
  const [head = ''] = metadata.split(/\r?\n\r?\n/)
  return head.split(/\r?\n/).flatMap((line) => (line.toLowerCase().startsWith(`${name.toLowerCase()}:`) ? [line.slice(name.length + 1).trim()] : []))
}

/** Specifier of torch in METADATA, without extras; null if it asks for none. */
export function torchPin(metadata: string): string | null {
  for (const line of headers(metadata, 'Requires-Dist')) {
    const [, name = '', specifier = '', marker = ''] = /^([A-Za-z0-9._-]+)\s*\(?([^;)]*)\)?\s*;?(.*)$/s.exec(line) ?? []
    if (normalizeName(name) === 'torch' && !/\bextra\b/.test(marker) && specifier.trim()) return specifier.replace(/\s+/g, '')
  }
  return null
}
