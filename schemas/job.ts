import { z } from 'zod'
import { EnvId, JobId, PackId } from './ids'
import { EnvCombination } from './env'
import { WireError } from './errors'

export const JobPhase = z.enum(['queued', 'planning', 'downloading', 'installing', 'verifying', 'switching'])
export type JobPhase = z.infer<typeof JobPhase>

/** What a job is asked to do, as its queue keeps it on disk. */
export const JobRequest = z.discriminatedUnion('action', [
  z.strictObject({
    action: z.literal('install'),
    pack: PackId,
    dir: z.string(),
    combination: EnvCombination.nullable().optional().describe('of a sealed env; null: an overlay; absent: as the env is'),
    in_place: z.boolean().optional().describe("into ComfyUI's own environment"),
    isolate: z.boolean().optional().describe('switch its isolation on when it is installed'),
  }),
  z.strictObject({ action: z.literal('repair'), pack: PackId, env: EnvId }),
  z.strictObject({ action: z.literal('import'), pack: PackId, file: z.string() }),
])
export type JobRequest = z.infer<typeof JobRequest>

/** Whether it changes ComfyUI's own environment. */
export const isInPlace = (request: JobRequest): boolean => request.action === 'install' && request.in_place === true

/** A job is in one phase, or has ended in one way. */
export const JobState = z.discriminatedUnion('status', [
  z.strictObject({
    status: z.literal('running'),
    phase: JobPhase,
    done: z.number().nullable().describe('units finished in this phase'),
    total: z.number().nullable(),
    unit: z.enum(['bytes', 'packages']).nullable(),
  }),
  z.strictObject({ status: z.literal('done') }),
  z.strictObject({
    status: z.literal('failed'),
    error: WireError,
    phase: JobPhase,
    line: z.number().int().nullable().describe('number of the first log line that is an error'),
  }),
  z.strictObject({ status: z.literal('cancelled') }),
])
export type JobState = z.infer<typeof JobState>

export const JobInfo = z
  .strictObject({
    id: JobId,
    action: z.enum(['install', 'repair', 'import']),
    pack: PackId,
    env: EnvId,
    state: JobState,
    started: z.number(),
    ended: z.number().nullable(),
    lines: z.number().int().describe('log lines written so far'),
    position: z.number().int().nullable().describe('place among the jobs that wait, from 1; null: it runs or has ended'),
    in_place: z.boolean().describe("changes ComfyUI's own environment"),
  })
  .meta({ id: 'JobInfo' })
export type JobInfo = z.infer<typeof JobInfo>

/** One line of a log, as it stands on disk (NDJSON) and as it travels. `seq` counts from 1 in each log without gaps. */
export const LogLine = z
  .strictObject({
    seq: z.number().int().positive(),
    time: z.number().describe('milliseconds since 1970'),
    level: z.enum(['debug', 'info', 'warn', 'error']),
    phase: z.string().describe('job phase, or the node that was running in a worker'),
    text: z.string(),
  })
  .meta({ id: 'LogLine' })
export type LogLine = z.infer<typeof LogLine>
