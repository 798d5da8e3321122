import { z } from 'zod'

/**
 * A node pack's id: the name of its folder in `custom_nodes`. One path segment, so that an id can never name a place
 * outside that folder. Names that Windows reserves and names that end in a dot or a space are refused as well.
 */
export const PackId = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[A-Za-z0-9_@()+,'&!-][A-Za-z0-9 ._@()+,'&!-]*$/, 'a node pack id is one folder name')
  .refine((name) => !/[. ]$/.test(name), 'a node pack id does not end in a dot or a space')
  .refine((name) => !/^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(name), 'a node pack id is no reserved device name')
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
