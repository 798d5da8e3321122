import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { patch } from '@decimalturn/toml-patch'
import { z } from 'zod'
import type { PanelSettings } from '../schemas/care'
import { BridgeError } from './errors/bridgeError'
import { bytesNow, danglingLink, errnoOf, readText, textIn, unreadable, writeThrough } from './files'
import { lockIn, withLock } from './osLock'
import { configError, locate, parseToml } from './toml'
import { parseKnown } from './stateFile'

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
  start: z.enum(['now', 'wait']).optional(), // read by ComfyUI’s part (python_shim/shim/saved.py)
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
export type SettingsFile = z.infer<typeof SettingsFile>

/** What the file says of the settings that the panel may change, or what holds where it says nothing. */
export function panelPart({ offline = false, registry = true, workers = {} }: SettingsFile): PanelSettings {
  const { per_pack = 1, share = false, idle_minutes = 10, keep_warm = [], memory_gb = 0 } = workers
  return { offline, registry, workers_per_pack: per_pack, share_workers: share, idle_minutes, keep_warm, memory_gb }
}

const pathIn = (home: string): string => join(home, 'settings.toml')

/** What the file says, what in it we do not know, each with its line, and what keeps it from being read at all. */
export interface FileRead {
  values: SettingsFile
  /** Keys of a newer version, or mistyped: they are kept and do nothing. */
  unknown: string[]
  /** FILE_UNREADABLE, CONFIG_SYNTAX or CONFIG_INVALID: nothing that the file says is known. */
  fault: BridgeError | null
  /** What it says of sandboxes is not wholly known. */
  sandboxFault: BridgeError | null
}

const ALLOWED = `It may hold: ${Object.keys(SettingsFile.shape).join(', ')}.`

function textOf(path: string): string {
  try {
    return textIn(path, bytesNow(path))
  } catch (error) {
    if (error instanceof BridgeError) throw error
    if (errnoOf(error) !== 'ENOENT') throw unreadable(path, error instanceof Error ? error.message : String(error), { cause: error })
    if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) throw danglingLink(path)
    return ''
  }
}

function unknownKey(path: string, text: string, key: readonly PropertyKey[]): string {
  const line = locate(text, key)?.line
  return `${path}${line === undefined ? '' : `:${line}`}: there is no setting \`${key.join('.')}\`, so it does nothing.${key.length === 1 ? ` ${ALLOWED}` : ''}`
}

/** Throws CONFIG_INVALID for a value of the wrong kind. A key that we do not know is none. */
function refuseWrong(raw: unknown, text: string, path: string): void {
  const { error } = SettingsFile.safeParse(raw)
  const wrong = error?.issues.filter(({ code }) => code !== 'unrecognized_keys') ?? []
  if (wrong.length > 0) throw configError(new z.ZodError(wrong), text, path, ALLOWED)
}

/** Reads it; an absent file is empty. Never throws: whoever cannot go on with a fault throws it. */
export function readSettingsFile(home: string): FileRead {
  const path = pathIn(home)
  try {
    const text = textOf(path)
    const raw = parseToml(text, path)
    refuseWrong(raw, text, path)
    const { value, unknown } = parseKnown(SettingsFile, raw)
    const said = unknown.map((key) => unknownKey(path, text, key))
    const sandbox = unknown.find(([first]) => first === 'sandbox')
    const sandboxFault = sandbox ? new BridgeError('CONFIG_INVALID', unknownKey(path, text, sandbox), { hint: 'Correct it: until then nothing isolated starts, since it may ask for a sandbox.' }) : null
    return { values: value, unknown: said, fault: null, sandboxFault }
  } catch (error) {
    if (!(error instanceof BridgeError)) throw error
    return { values: {}, unknown: [], fault: error, sandboxFault: error }
  }
}

/**
 * Writes what a user has changed in the panel, and keeps everything else of the file: comments, order, other keys. Throws what keeps the file from being
 * read: nothing is written over that.
 */
export function writeSettings(home: string, changed: Partial<PanelSettings>): Promise<void> {
  return withLock(lockIn(home, 'settings.toml'), {}, () => change(pathIn(home), changed))
}

async function change(path: string, changed: Partial<PanelSettings>): Promise<void> {
  const text = (await readText(path)) ?? ''
  const before = parseToml(text, path)
  refuseWrong(before, text, path)
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
  await writeThrough(path, `${patch(text, after).trimEnd()}${text.includes('\r\n') ? '\r\n' : '\n'}`)
}
