import { z } from 'zod'

/** One check of `comfy-env doctor` and of the panel: both run the same ones. */
export const Check = z
  .strictObject({
    id: z.string(),
    status: z.enum(['ok', 'warn', 'fail']),
    message: z.string(),
    fix: z.string().describe('what to do; empty: nothing'),
  })
  .meta({ id: 'Check' })
export type Check = z.infer<typeof Check>

/** What may be deleted without losing an env. */
export const Leftover = z.strictObject({ what: z.string(), bytes: z.number() }).meta({ id: 'Leftover' })
export type Leftover = z.infer<typeof Leftover>

export const REDACTIONS = ['secret', 'user', 'host'] as const

/** A piece of the diagnostic report; `hidden` says what was there before, if that is not shown. */
export const ReportPart = z.strictObject({ text: z.string(), hidden: z.enum(REDACTIONS).nullable() }).meta({ id: 'ReportPart' })
export type ReportPart = z.infer<typeof ReportPart>

/** The settings that the panel may change. They live in `settings.toml` of the home folder. */
export const PanelSettings = z
  .strictObject({
    offline: z.boolean(),
    registry: z.boolean().describe('ask the known publishers of wheels'),
    workers_per_pack: z.number().int().min(1).max(16),
    share_workers: z.boolean(),
    idle_minutes: z.number().min(0).max(10_080),
    keep_warm: z.array(z.string().max(128)).max(500),
    memory_gb: z.number().min(0).max(100_000).describe('that each worker may take; 0: as much as there is'),
  })
  .meta({ id: 'PanelSettings' })
export type PanelSettings = z.infer<typeof PanelSettings>
