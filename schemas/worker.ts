import { z } from 'zod'
import { EnvId, PackId, WorkerId } from './ids'

/** How a worker's process ended, by the kernel's word. */
export const WorkerExit = z.strictObject({
  code: z.number().int().nullable(),
  signal: z.string().nullable(),
  lines: z.array(z.string()).describe('the last lines it printed'),
})
export type WorkerExit = z.infer<typeof WorkerExit>

export const WorkerState = z.discriminatedUnion('status', [
  z.strictObject({ status: z.literal('stopped') }),
  z.strictObject({ status: z.literal('starting') }),
  z.strictObject({ status: z.literal('ready') }),
  z.strictObject({ status: z.literal('busy'), node: z.string() }),
  z.strictObject({ status: z.literal('stopping') }),
  z.strictObject({ status: z.literal('crashed'), exit: WorkerExit, retry_at: z.number().nullable() }),
])
export type WorkerState = z.infer<typeof WorkerState>

export const WorkerInfo = z
  .strictObject({
    id: WorkerId,
    env: EnvId.nullable().describe("null: ComfyUI's own environment"),
    packs: z.array(PackId),
    state: WorkerState,
    pid: z.number().int().nullable(),
    started: z.number().nullable(),
    restarts: z.number().int(),
    calls: z.number().int(),
    lines: z.number().int(),
  })
  .meta({ id: 'WorkerInfo' })
export type WorkerInfo = z.infer<typeof WorkerInfo>
