import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parse, TomlError } from 'smol-toml'
import { z } from 'zod'
import { BridgeError } from '../errors/bridgeError'

/** What a pack says that it needs, whichever file it says it in. */
export interface PackNeeds {
  /** File name relative to the pack; null: the pack says nothing. */
  file: string | null
  /** Ordinary requirements, for uv. */
  python: string[]
  /** Requirements of prebuilt CUDA wheels, for our resolver. */
  cuda: string[]
  /** Wheel sources that the pack names; checked against the known hosts before use. */
  sources: string[]
  /** Python that the pack asks for; null: ComfyUI's. */
  pythonVersion: string | null
  variables: Record<string, string>
  warnings: string[]
}

/** In the order of the Python library `comfyui-envmanager`, first existing wins: the names of its 0.0.1, then that of its 0.0.23. */
const CONFIG_FILES = [
  'comfyui_env.toml',
  'comfyui_envmanager.toml',
  'comfyui_isolation_reqs.toml',
  'comfyui_isolation.toml',
  'isolation.toml',
  'comfy-env.toml',
]

const LIMIT_BYTES = 64 * 1024
const Strings = z.array(z.string())
/** `name = "1.2"`, where "*" is any version; or a list of requirements. */
const Requirements = z.union([Strings, z.record(z.string(), z.string())])

const ConfigFile = z.object({
  env: z
    .object({
      name: z.string().optional(),
      python: z.string('must be quoted text such as "3.12", because 3.10 unquoted is the number 3.1').optional(),
      cuda: z.string().optional(),
      pytorch_version: z.string().optional(),
      pytorch: z.string().optional(),
    })
    .optional(),
  packages: z
    .union([
      z.object({ requirements: Strings.optional(), no_deps: Strings.optional(), requirements_file: z.string().optional() }),
      Strings,
    ])
    .optional(),
  cuda: z.union([z.object({ packages: z.union([Strings, z.string()]) }), Requirements]).optional(),
  sources: z.object({ wheel_sources: Strings.optional(), index_urls: Strings.optional() }).optional(),
  variables: z.record(z.string(), z.string()).optional(),
  worker: z.object({ package: z.string().optional(), script: z.string().optional() }).optional(),
})
type ConfigFile = z.infer<typeof ConfigFile>

const nothing = (file: string | null): PackNeeds => ({
  file,
  python: [],
  cuda: [],
  sources: [],
  pythonVersion: null,
  variables: {},
  warnings: [],
})

async function readSmall(path: string): Promise<string | null> {
  const info = await stat(path).catch(() => null)
  if (!info?.isFile()) return null
  if (info.size > LIMIT_BYTES) throw new BridgeError('CONFIG_INVALID', `${path} is larger than 64 KB.`)
  return (await readFile(path, 'utf8')).replace(/^\uFEFF/, '')
}

/** Parses TOML; an error names file, line and column. */
export function parseToml(text: string, path: string): Record<string, unknown> {
  try {
    return parse(text)
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause
    const what = cause.message.split('\n')[0]?.replace(/^Invalid TOML document: /, '') ?? 'not TOML'
    throw new BridgeError('CONFIG_SYNTAX', `${path}:${cause.line}:${cause.column}: ${what}.`, {
      details: { file: path, line: cause.line, column: cause.column },
      cause,
    })
  }
}

function unknownKeys(raw: Record<string, unknown>): string[] {
  const known = Object.keys(ConfigFile.shape)
  return Object.keys(raw).filter((key) => !known.includes(key))
}

const asRequirements = (given: z.infer<typeof Requirements>): string[] =>
  Array.isArray(given) ? given : Object.entries(given).map(([name, version]) => (version === '*' ? name : `${name}==${version}`))

function cudaRequirements(cuda: ConfigFile['cuda']): string[] {
  if (!cuda) return []
  if (!Array.isArray(cuda) && 'packages' in cuda) return [cuda.packages].flat()
  return asRequirements(cuda as z.infer<typeof Requirements>)
}

async function fromToml(folder: string, file: string, text: string): Promise<PackNeeds> {
  const path = join(folder, file)
  const raw = parseToml(text, path)
  const parsed = ConfigFile.safeParse(raw)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const where = issue?.path.join('.') || 'the file'
    throw new BridgeError('CONFIG_INVALID', `${path}: ${where}: ${issue?.message ?? 'wrong value'}.`, {
      details: { file: path, key: where },
    })
  }
  const { env, packages, cuda, sources, variables } = parsed.data
  const table = Array.isArray(packages) ? { no_deps: packages } : (packages ?? {})
  const extra = table.requirements_file ? await requirementsText(join(folder, table.requirements_file)) : null
  return {
    ...nothing(file),
    python: [...(table.requirements ?? []), ...(extra?.python ?? [])],
    cuda: [...(table.no_deps ?? []), ...cudaRequirements(cuda)],
    sources: [...(sources?.wheel_sources ?? []), ...(sources?.index_urls ?? [])],
    pythonVersion: env?.python ?? null,
    variables: variables ?? {},
    warnings: [
      ...unknownKeys(raw).map((key) => `${file}: the section \`${key}\` is not known and was passed over.`),
      ...(extra?.warnings ?? []),
    ],
  }
}

/** A requirements file: options and nested files are shown as warnings, never followed. */
async function requirementsText(path: string): Promise<{ python: string[]; warnings: string[] } | null> {
  const text = await readSmall(path)
  if (text === null) return null
  const lines = text.split(/\r?\n/).map((line) => line.replace(/(^|\s)#.*$/, '').trim())
  const python = lines.filter((line) => line && !line.startsWith('-'))
  const warnings = lines.filter((line) => line.startsWith('-')).map((line) => `The option \`${line}\` was passed over.`)
  return { python, warnings }
}

/** Reads what the pack in `folder` needs: its config file, else its `requirements.txt`, else nothing. */
export async function readPackNeeds(folder: string): Promise<PackNeeds> {
  for (const file of CONFIG_FILES) {
    const text = await readSmall(join(folder, file))
    if (text !== null) return fromToml(folder, file, text)
  }
  const plain = await requirementsText(join(folder, 'requirements.txt'))
  return plain ? { ...nothing('requirements.txt'), ...plain } : nothing(null)
}
