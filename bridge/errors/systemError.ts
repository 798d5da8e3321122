import type { ErrorCode } from '../../schemas/errors'

const READS = new Set(['access', 'lstat', 'open', 'opendir', 'read', 'readlink', 'realpath', 'scandir', 'stat', 'statfs'])
const WRITES = new Set(['chmod', 'close', 'copyfile', 'fchmod', 'fdatasync', 'fsync', 'ftruncate', 'futime', 'link', 'mkdir', 'mkdtemp', 'rename', 'rm', 'rmdir', 'symlink', 'truncate', 'unlink', 'utime', 'write'])

/** `EIO: i/o error, read` without the call and the path. */
export const reasonOf = (error: unknown): string => (error instanceof Error ? (error.message.split(', ')[0] ?? error.message) : String(error))

/** What the file system has refused, as one of our codes and sentences; null: it is no error of the file system (`errno(3)`, and the call as libuv names it). */
export function fileFault(error: unknown): { code: ErrorCode; message: string } | null {
  if (!(error instanceof Error)) return null
  const { code, syscall, path, dest } = error as NodeJS.ErrnoException & { dest?: string }
  if (code === 'ENOSPC' || code === 'EDQUOT') return { code: 'DISK_FULL', message: 'The disk is full.' }
  if (code === undefined || syscall === undefined) return null
  const what = dest ?? path ?? 'A file'
  if (READS.has(syscall)) return { code: 'FILE_UNREADABLE', message: `${what} cannot be read: ${reasonOf(error)}.` }
  return WRITES.has(syscall) ? { code: 'FILE_UNWRITABLE', message: `${what} cannot be written: ${reasonOf(error)}.` } : null
}
