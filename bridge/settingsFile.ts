import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { BridgeError } from './errors/bridgeError'
import { parseToml } from './toml'

/** `settings.toml` in the home folder: what a user sets once, for ComfyUI and the command line alike. */
const SettingsFile = z.strictObject({
  sources: z.array(z.string()).optional(),
  allow_hosts: z.array(z.string()).optional(),
  index: z.string().optional(),
  find_links: z.string().optional(),
  torch_index: z.string().optional(),
  registry: z.boolean().optional(),
  offline: z.boolean().optional(),
  proxy: z.string().optional(),
  mirrors: z.record(z.string(), z.string()).optional(),
  workers: z
    .strictObject({
      per_pack: z.int().min(1).max(16).optional(),
      share: z.boolean().optional(),
      idle_minutes: z.number().nonnegative().optional(),
      keep_warm: z.array(z.string()).optional(),
    })
    .optional(),
})
type SettingsFile = z.infer<typeof SettingsFile>

/** Reads it; an absent file is empty. Throws CONFIG_SYNTAX or CONFIG_INVALID, with the keys that there are. */
export function readSettingsFile(home: string): SettingsFile {
  const path = join(home, 'settings.toml')
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return {}
  }
  const parsed = SettingsFile.safeParse(parseToml(text, path))
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const where = issue?.path.join('.')
  throw new BridgeError('CONFIG_INVALID', `${path}: ${where ? `${where}: ` : ''}${issue?.message ?? 'wrong value'}.`, {
    hint: `It may hold: ${Object.keys(SettingsFile.shape).join(', ')}.`,
  })
}
