import { z } from 'zod'

/** Every error that a user can meet. Each has a page in `docs/errors/`, and its text comes from `bridge/errors/catalogue.ts`. */
export const ERROR_CODES = [
  'BAD_USAGE',
  'BAD_REQUEST',
  'INTERNAL',
  'UNAUTHORIZED',
  'FORBIDDEN',
  'PROTOCOL_VERSION',
  'CONNECTION_LOST',
  'PORT_TAKEN',
  'CONFIG_SYNTAX',
  'CONFIG_INVALID',
  'NOT_OURS',
  'UNKNOWN_PACK',
  'PACK_INCOMPLETE',
  'UNKNOWN_ENV',
  'UNKNOWN_JOB',
  'UNKNOWN_WORKER',
  'UNKNOWN_NODE_CLASS',
  'BAD_REQUIREMENT',
  'TEMPLATE_VARIABLE',
  'NO_WHEEL',
  'SOURCE_UNREACHABLE',
  'RATE_LIMITED',
  'OFFLINE',
  'HOST_NOT_ALLOWED',
  'DOWNLOAD_FAILED',
  'NOT_A_WHEEL',
  'WHEEL_INVALID',
  'HASH_MISMATCH',
  'UV_MISSING',
  'UV_FAILED',
  'PYTHON_NOT_FOUND',
  'TORCH_PROTECTED',
  'DISK_FULL',
  'FILE_UNREADABLE',
  'FILE_UNWRITABLE',
  'VERIFY_FAILED',
  'ENV_BUSY',
  'ENV_BROKEN',
  'HOST_CHANGED',
  'CANCELLED',
  'SANDBOX_UNAVAILABLE',
  'WORKER_START_FAILED',
  'WORKER_DIED',
  'WORKER_CRASH_LOOP',
  'PACK_IMPORT_FAILED',
  'PACK_CHANGED',
  'NODE_RAISED',
  'NODE_INTERRUPTED',
  'VALUE_NOT_PORTABLE',
  'HANDLE_FOREIGN',
  'HANDLE_GONE',
  'HOST_UNKNOWN',
  'MEMORY_FULL',
  'SEGMENT_GONE',
] as const

export const ErrorCode = z.enum(ERROR_CODES)
export type ErrorCode = z.infer<typeof ErrorCode>

/** What an exception in a node looked like in its worker. */
export const RemoteException = z.strictObject({
  type: z.string().describe('class name, as in Python'),
  module: z.string().describe('module of that class'),
  message: z.string(),
  traceback: z.string().describe('the worker traceback, whole'),
})
export type RemoteException = z.infer<typeof RemoteException>

/** An error as it travels: one sentence, what to do about it, and data for programs. */
export const WireError = z
  .strictObject({
    code: ErrorCode,
    message: z.string(),
    hint: z.string(),
    details: z.record(z.string(), z.unknown()).optional(),
    exception: RemoteException.optional(),
  })
  .meta({ id: 'WireError' })
export type WireError = z.infer<typeof WireError>
