import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

export interface ZipFile {
  path: string
  content: Buffer | string
  /** Unix mode; a regular file if absent. */
  mode?: number
  /** Size that the directory claims, where it lies. */
  claims?: number
}

function localHeader({ path, content }: ZipFile): Buffer {
  const name = Buffer.from(path)
  const data = Buffer.from(content)
  const head = Buffer.alloc(30)
  head.writeUInt32LE(0x04034b50, 0)
  head.writeUInt16LE(20, 4)
  head.writeUInt32LE(crc32(data), 14)
  head.writeUInt32LE(data.length, 18)
  head.writeUInt32LE(data.length, 22)
  head.writeUInt16LE(name.length, 26)
  return Buffer.concat([head, name, data])
}

function directoryEntry({ path, content, mode = 0o100644, claims }: ZipFile, offset: number): Buffer {
  const name = Buffer.from(path)
  const data = Buffer.from(content)
  const head = Buffer.alloc(46)
  head.writeUInt32LE(0x02014b50, 0)
  head.writeUInt16LE((3 << 8) | 20, 4)
  head.writeUInt16LE(20, 6)
  head.writeUInt16LE(claims === undefined ? 0 : 8, 10)
  head.writeUInt32LE(crc32(data), 16)
  head.writeUInt32LE(data.length, 20)
  head.writeUInt32LE(claims ?? data.length, 24)
  head.writeUInt16LE(name.length, 28)
  head.writeUInt32LE((mode << 16) >>> 0, 38)
  head.writeUInt32LE(offset, 42)
  return Buffer.concat([head, name])
}

/** A zip of stored files, honest or not. */
export function makeZip(files: readonly ZipFile[]): Buffer {
  const bodies: Buffer[] = []
  const entries: Buffer[] = []
  let offset = 0
  for (const file of files) {
    const body = localHeader(file)
    entries.push(directoryEntry(file, offset))
    bodies.push(body)
    offset += body.length
  }
  const directory = Buffer.concat(entries)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(files.length, 8)
  end.writeUInt16LE(files.length, 10)
  end.writeUInt32LE(directory.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...bodies, directory, end])
}

export interface WheelOptions {
  /** More files, or others in place of the usual ones. */
  files?: ZipFile[]
  metadata?: string
  /** Leaves these paths out of RECORD. */
  unlisted?: string[]
}

/** A small wheel with one module that says which build it is. */
export function makeWheel(filename: string, { files = [], metadata, unlisted = [] }: WheelOptions = {}): Buffer {
  const [name = '', version = ''] = filename.split('-')
  const info = `${name}-${version}.dist-info`
  const usual: ZipFile[] = [
    { path: `${name}/__init__.py`, content: `BUILD = ${JSON.stringify(filename)}\n` },
    { path: `${info}/METADATA`, content: metadata ?? `Metadata-Version: 2.1\nName: ${name}\nVersion: ${version}\n` },
    { path: `${info}/WHEEL`, content: 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-any\n' },
  ]
  const own = [...usual.filter(({ path }) => !files.some((file) => file.path === path)), ...files]
  const rows = own
    .filter(({ path }) => !unlisted.includes(path) && !path.endsWith('/RECORD'))
    .map(({ path, content }) => `${path},sha256=${createHash('sha256').update(content).digest('base64url')},${Buffer.from(content).length}`)
  const record = { path: `${info}/RECORD`, content: `${[...rows, `${info}/RECORD,,`].join('\n')}\n` }
  return makeZip(own.some(({ path }) => path === record.path) ? own : [...own, record])
}

export const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex')
