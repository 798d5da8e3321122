import { z } from 'zod'
import { configError, parseToml } from '../toml'
import { noNeeds, type PackNeeds } from './needs'
import type { ConfigContext } from './referenceConfig'

/** The files of comfy-env 0.4: `comfy-env-root.toml` and `nodes/comfy-env.toml`, in pixi's language as far as uv can serve it. */

const quoted = z.string('must be quoted text such as "3.12", because 3.10 unquoted is the number 3.1')
const Dependency = z.union([z.string(), z.looseObject({ version: z.string().optional(), extras: z.array(z.string()).optional() })], 'must be a version or a table')
const Dependencies = z.record(z.string(), Dependency)
const Tables = { dependencies: Dependencies.optional(), 'pypi-dependencies': Dependencies.optional() }

const EnvFile = z.looseObject({
  python: quoted.optional(),
  cuda: z.looseObject({ packages: z.union([z.array(z.string()), z.string()], 'must be a list of package names') }).optional(),
  env_vars: z.record(z.string(), z.string('must be quoted text')).optional(),
  options: z.looseObject({ health_check_timeout: z.number().optional() }).optional(),
  ...Tables,
  target: z.record(z.string(), z.looseObject(Tables)).optional(),
  'pypi-options': z.looseObject({ 'extra-index-urls': z.array(z.string()).optional(), 'index-url': z.string().optional() }).optional(),
})
type EnvFile = z.infer<typeof EnvFile>

/** Passed over without a word: they only steer pixi. */
const PIXI_ONLY = ['workspace', 'system-requirements', 'activation']

const RootFile = z.looseObject({
  node_packs: z.record(z.string(), z.unknown()).optional(),
  node_reqs: z.record(z.string(), z.unknown()).optional(),
  types: z.record(z.string(), z.unknown()).optional(),
  settings: z.record(z.string(), z.unknown()).optional(),
})

/** pixi's platform names that stand for a system. */
const TARGETS = {
  linux: ['linux', 'linux-64', 'linux-aarch64', 'unix'],
  windows: ['win', 'win-64', 'win-arm64'],
  darwin: ['osx', 'osx-64', 'osx-arm64', 'unix'],
} as const

function requirement(name: string, given: z.infer<typeof Dependency>): { text?: string; warning?: string } {
  const table = typeof given === 'string' ? { version: given } : given
  const elsewhere = ['git', 'url', 'path'].find((key) => key in table)
  if (elsewhere) return { warning: `\`${name}\` comes from a ${elsewhere} address, which a node pack may not name; it was passed over.` }
  const version = (table.version ?? '*').trim()
  const extras = 'extras' in table && table.extras ? `[${table.extras.join(',')}]` : ''
  const specifier = version === '*' ? '' : /^[<>=!~]/.test(version) ? version : `==${version}`
  return { text: `${name}${extras}${specifier}` }
}

const pythonOf = (version: string): string | null => /(\d+\.\d+)/.exec(version)?.[1] ?? null

function envFileNeeds(config: EnvFile, { file, os }: ConfigContext): PackNeeds {
  const targets = Object.entries(config.target ?? {}).filter(([name]) => (TARGETS[os] as readonly string[]).includes(name)).map(([, table]) => table)
  const tables = [config, ...targets]
  const pypi = tables.flatMap((table) => Object.entries(table['pypi-dependencies'] ?? {})).map(([name, given]) => requirement(name, given))
  const conda = tables.flatMap((table) => Object.entries(table.dependencies ?? {}))
  const condaPython = conda.find(([name]) => name === 'python')?.[1]
  const others = conda.filter(([name]) => !['python', 'pip', 'uv'].includes(name)).map(([name]) => name)
  const known = new Set([...Object.keys(EnvFile.shape), ...PIXI_ONLY])
  const unknown = Object.keys(config).filter((key) => !known.has(key))
  const options = config['pypi-options']
  return {
    ...noNeeds(file),
    python: pypi.flatMap(({ text }) => text ?? []),
    cuda: [config.cuda?.packages ?? []].flat(),
    indexes: [...(options?.['index-url'] ? [options['index-url']] : []), ...(options?.['extra-index-urls'] ?? [])],
    pythonVersion: config.python ?? (typeof condaPython === 'string' ? pythonOf(condaPython) : null),
    environment: config.env_vars ?? {},
    warnings: [
      ...unknown.map((key) => `${file}: \`${key}\` is not known and was passed over.`),
      ...pypi.flatMap(({ warning }) => (warning ? [`${file}: ${warning}`] : [])),
      ...(others.length > 0 ? [`${file}: conda packages cannot be installed here (uv has none): ${others.join(', ')}.`] : []),
    ],
  }
}

/** Reads one `comfy-env.toml` of comfy-env 0.4. */
export function pixiNeeds(text: string, context: ConfigContext): PackNeeds {
  const parsed = EnvFile.safeParse(parseToml(text, context.path))
  if (!parsed.success) throw configError(parsed.error, text, context.path)
  return envFileNeeds(parsed.data, context)
}

/** Warnings of a `comfy-env-root.toml`: it names other node packs, and no packages. */
export function rootWarnings(text: string, { file, path }: ConfigContext): string[] {
  const parsed = RootFile.safeParse(parseToml(text, path))
  if (!parsed.success) throw configError(parsed.error, text, path)
  const { node_packs, node_reqs } = parsed.data
  const packs = Object.keys({ ...node_packs, ...node_reqs })
  const unknown = Object.keys(parsed.data).filter((key) => !Object.hasOwn(RootFile.shape, key))
  return [
    ...(packs.length > 0 ? [`${file} asks for other node packs: ${packs.join(', ')}.`] : []),
    ...unknown.map((key) => `${file}: \`${key}\` is not known and was passed over.`),
  ]
}

/** Keys that only comfy-env 0.4 has: they tell its `comfy-env.toml` from the older one of the same name. */
const PIXI_KEYS = ['pypi-dependencies', 'dependencies', 'env_vars', 'options', 'target', 'pypi-options', 'workspace', 'system-requirements', 'activation']

/** Whether a `comfy-env.toml` is of comfy-env 0.4: by its place below `nodes/`, or by a key that only that has. */
export function isPixiFile(text: string, context: ConfigContext): boolean {
  const raw = parseToml(text, context.path)
  return context.file.startsWith('nodes/') || typeof raw.python === 'string' || PIXI_KEYS.some((key) => key in raw)
}
