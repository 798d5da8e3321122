import { z } from 'zod'

/**
 * A node pack's id: the name of its folder in `custom_nodes`, whatever the file system allows; a byte that is not UTF-8 is a lone surrogate, as
 * Python has it. One path segment, and all the same never a part of a path of ours: what is named after a pack is named by its env id or `packFile`.
 * For display it is cleaned.
 */
export const PackId = z
  .string()
  .max(255)
  .regex(/^(?!\.{1,2}$)[^/\0]+$/, 'a node pack id is one folder name')
export type PackId = z.infer<typeof PackId>

/** An environment's id: lower case letters, digits, `-` and `_`. It is a folder name below `envs/`. */
export const EnvId = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, 'an env id is lower case letters, digits, - and _')
export type EnvId = z.infer<typeof EnvId>

/** A job's id, also the name of its log file below `jobs/`. */
export const JobId = z.string().regex(/^job-[0-9a-z]{6,32}$/, 'not a job id')
export type JobId = z.infer<typeof JobId>

/** A worker's id: its env's id, `#` and a number. Stable over restarts of the process. */
export const WorkerId = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}#\d+$/, 'not a worker id')
export type WorkerId = z.infer<typeof WorkerId>

/** Names one call on every link it travels, so that a cancel finds it. */
export const CallId = z.string().regex(/^[0-9A-Za-z_-]{1,64}$/, 'not a call id')
export type CallId = z.infer<typeof CallId>
