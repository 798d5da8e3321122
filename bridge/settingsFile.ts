import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { patch } from '@decimalturn/toml-patch'
import { z } from 'zod'
import type { PanelSettings } from '../schemas/care'
import { BridgeError } from './errors/bridgeError'
import { writeAtomic } from './files'
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
  metrics_port: z.int().min(1).max(65_535).optional(),
  mirrors: z.record(z.string(), z.string()).optional(),
  workers: z
    .strictObject({
      per_pack: z.int().min(1).max(16).optional(),
      share: z.boolean().optional(),
      idle_minutes: z.number().nonnegative().optional(),
      keep_warm: z.array(z.string()).optional(),
      memory_gb: z.number().nonnegative().optional(),
    })
    .optional(),
  sandbox: z
    .strictObject({
      packs: z.array(z.string()).optional(),
      network: z.boolean().optional(),
      read: z.array(z.string().startsWith('/')).optional(),
      write: z.array(z.string().startsWith('/')).optional(),
    })
    .optional(),
})
type SettingsFile = z.infer<typeof SettingsFile>

const pathIn = (home: string): string => join(home, 'settings.toml')

/** Reads it; an absent file is empty. Throws CONFIG_SYNTAX or CONFIG_INVALID, with the keys that there are. */
export function readSettingsFile(home: string): SettingsFile {
  const path = pathIn(home)
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

/** Writes what a user has changed in the panel, and keeps everything else of the file: comments, order, other keys. */
export async function writeSettings(home: string, changed: Partial<PanelSettings>): Promise<void> {
  const path = pathIn(home)
  const text = await readFile(path, 'utf8').catch(() => '')
  const before = parseToml(text, path)
  const { offline, registry, workers_per_pack: perPack, share_workers: share, idle_minutes: idle, keep_warm: warm, memory_gb: memory } = changed
  const workers = {
    ...(before.workers as object | undefined),
    ...(perPack !== undefined && { per_pack: perPack }),
    ...(share !== undefined && { share }),
    ...(idle !== undefined && { idle_minutes: idle }),
    ...(warm !== undefined && { keep_warm: warm }),
    ...(memory !== undefined && { memory_gb: memory }),
  }
  const after = {
    ...before,
    ...(offline !== undefined && { offline }),
    ...(registry !== undefined && { registry }),
    ...(Object.keys(workers).length > 0 && { workers }),
  }
  await writeAtomic(path, `${patch(text, after).trimEnd()}\n`)
}
