import { z } from 'zod'
import { byName } from './byName'

/** `run/<name>/bridge.json`, mode 0600 in a folder 0700: how whoever has started a bridge talks with it. Its path is in the first line that the bridge prints. */
export const ConnectionFile = z
  .strictObject({
    protocol: z.number().int(),
    port: z.number().int(),
    socket: z.string().nullable().describe('a Unix socket that does the same as the port, and is faster; null where there is none'),
    token: z.string().regex(/^[0-9a-f]{64}$/),
    pid: z.number().int(),
    parent: z.number().int().describe('the process that started it'),
    segments: z.string().nullable().describe('folder for shared memory with names, where a sandbox needs them; null: it is anonymous'),
  })
  .meta({ id: 'ConnectionFile' })
export type ConnectionFile = z.infer<typeof ConnectionFile>

/** `state.json`: what the user chose. Read by the shim too, before a bridge runs. */
export const StateFile = z
  .strictObject({
    schema: z.literal(1),
    isolated: z.array(z.string()).describe('packs that run in a worker'),
    classes: byName(byName(z.boolean())).optional().describe('pack → node class → whether it runs in a worker, where that differs'),
  })
  .meta({ id: 'StateFile' })
export type StateFile = z.infer<typeof StateFile>

export const LINK_ROLES = ['shim', 'panel', 'viewer', 'calls'] as const
export type LinkRole = (typeof LINK_ROLES)[number]
