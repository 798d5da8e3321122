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

/** What a worker's processes take, as the system counts it. */
export const WorkerUsage = z
  .strictObject({
    cpu_percent: z.number().describe('100: one core'),
    memory_bytes: z.number().describe('resident, of its process and of those that it has started'),
    vram_bytes: z.number().nullable().describe('null: no GPU driver tells it'),
  })
  .meta({ id: 'WorkerUsage' })
export type WorkerUsage = z.infer<typeof WorkerUsage>

/** `silent`: it does not answer; `stuck`: it has not for long, and does nothing either. It is shown, and never ended for it. */
export const WorkerHealth = z.enum(['ok', 'silent', 'stuck'])
export type WorkerHealth = z.infer<typeof WorkerHealth>

export const LastCall = z
  .strictObject({ node: z.string(), ended: z.number(), seconds: z.number(), failed: z.boolean() })
  .meta({ id: 'LastCall' })
export type LastCall = z.infer<typeof LastCall>

export const WorkerInfo = z
  .strictObject({
    id: WorkerId,
    env: EnvId.nullable().describe("null: ComfyUI's own environment"),
    packs: z.array(PackId),
    state: WorkerState,
    pid: z.number().int().nullable(),
    sandboxed: z.boolean().describe('without network, and with its own files only'),
    started: z.number().nullable(),
    restarts: z.number().int(),
    calls: z.number().int(),
    lines: z.number().int(),
    usage: WorkerUsage.nullable().describe('null: no process, or not measured yet'),
    last_call: LastCall.nullable(),
    health: WorkerHealth,
  })
  .meta({ id: 'WorkerInfo' })
export type WorkerInfo = z.infer<typeof WorkerInfo>
