import { z } from 'zod'
import { BridgeError } from '../errors/bridgeError'
import { configError, parseToml } from '../toml'
import { noNeeds, type PackNeeds } from './needs'

/** The files of the Python library `comfyui-envmanager`: 0.0.1's forms, and those that 0.0.23 added to them. */

const Strings = z.array(z.string('must be a list of quoted texts'))
/** `name = "1.2"`, where "*" is any version; or a list of requirements. */
const Requirements = z.union([Strings, z.record(z.string(), z.string())])
const quoted = z.string('must be quoted text such as "3.12", because 3.10 unquoted is the number 3.1')
const Platforms = { linux: Strings.optional(), windows: Strings.optional(), darwin: Strings.optional() }

const Packages = z.union(
  [
    Strings,
    z.looseObject({
      requirements: z.union([Strings, z.looseObject({ ...Platforms })]).optional(),
      no_deps: Strings.optional(),
      requirements_file: z.string().optional(),
      ...Platforms,
    }),
  ],
  'must be a list, or a table with requirements, no_deps or requirements_file as lists of quoted texts',
)

const ENV_KEYS = {
  name: z.string().optional(),
  python: quoted.optional(),
  cuda: z.union([quoted, Requirements]).optional(),
  cuda_version: quoted.optional(),
  pytorch: quoted.optional(),
  pytorch_version: quoted.optional(),
}

const NamedEnv = z.looseObject({
  ...ENV_KEYS,
  packages: Packages.optional(),
  conda: z.looseObject({ channels: Strings.optional(), packages: Strings.optional() }).optional(),
})
type NamedEnv = z.infer<typeof NamedEnv>

const SECTIONS = {
  env: z.looseObject(ENV_KEYS).optional(),
  packages: Packages.optional(),
  cuda: z.union([z.object({ packages: z.union([Strings, z.string()]) }), Requirements]).optional(),
  sources: z.looseObject({ wheel_sources: Strings.optional(), index_urls: Strings.optional() }).optional(),
  variables: z.record(z.string(), z.string('must be quoted text')).optional(),
  worker: z.looseObject({ package: z.string().optional(), script: z.string().optional() }).optional(),
  local: NamedEnv.optional(),
  system: z.looseObject(Platforms).optional(),
  node_reqs: z.union([Strings, z.record(z.string(), z.unknown())]).optional(),
  tools: z.record(z.string(), z.unknown()).optional(),
}
const ReferenceFile = z.looseObject(SECTIONS)
type ReferenceFile = z.infer<typeof ReferenceFile>

/** Keys of the sections that have a fixed set of them. */
const KNOWN_KEYS: Record<string, string[]> = {
  env: Object.keys(ENV_KEYS),
  packages: ['requirements', 'no_deps', 'requirements_file', 'linux', 'windows', 'darwin'],
  sources: ['wheel_sources', 'index_urls'],
  worker: ['package', 'script'],
  system: Object.keys(Platforms),
}

type System = 'linux' | 'windows' | 'darwin'
/** What reading a config needs from its surroundings. */
export interface ConfigContext {
  file: string
  path: string
  os: System
  readRequirements: (file: string) => Promise<{ python: string[]; warnings: string[] } | null>
}

const asList = (given: z.infer<typeof Requirements>): string[] =>
  Array.isArray(given) ? given : Object.entries(given).map(([name, version]) => (version === '*' ? name : /^[<>=!~]/.test(version) ? `${name}${version}` : `${name}==${version}`))

function cudaList(cuda: ReferenceFile['cuda'] | NamedEnv['cuda']): string[] {
  if (cuda === undefined || typeof cuda === 'string') return []
  if (!Array.isArray(cuda) && 'packages' in cuda) return [cuda.packages].flat()
  return asList(cuda as z.infer<typeof Requirements>)
}

/** `[packages] nvdiffrast = "0.4.0"`: CUDA packages by name (0.0.23). */
function namedPackages(table: Record<string, unknown>): Record<string, string> {
  const named = Object.entries(table).filter(([key]) => !KNOWN_KEYS.packages?.includes(key))
  return Object.fromEntries(named.filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

async function packageLists(given: z.infer<typeof Packages> | undefined, context: ConfigContext): Promise<Pick<PackNeeds, 'python' | 'cuda' | 'warnings'>> {
  if (!given) return { python: [], cuda: [], warnings: [] }
  if (Array.isArray(given)) return { python: [], cuda: given, warnings: [] }
  const { requirements, no_deps, requirements_file } = given
  const byList = Array.isArray(requirements) ? requirements : (requirements?.[context.os] ?? [])
  const extra = requirements_file ? await context.readRequirements(requirements_file) : null
  const absent = requirements_file && !extra ? [`${context.file}: ${requirements_file} is not there.`] : []
  return {
    python: [...byList, ...(given[context.os] ?? []), ...(extra?.python ?? [])],
    cuda: [...(no_deps ?? []), ...asList(namedPackages(given))],
    warnings: [...absent, ...(extra?.warnings ?? [])],
  }
}

/** `"auto"`, `"null"` and absence leave the choice to the machine; `"none"` is the CPU. */
function fixedVersion(given: unknown): string | null {
  if (typeof given !== 'string' || given === 'auto' || given === 'null') return null
  return given.toLowerCase()
}

/** Tables beyond the known sections are environments of their own (0.0.23); the library installs the first only. */
function namedEnvs(raw: Record<string, unknown>): [string, Record<string, unknown>][] {
  const isEnv = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && ['python', 'cuda', 'cuda_version', 'pytorch', 'pytorch_version', 'packages', 'conda'].some((key) => key in value)
  return Object.entries(raw).flatMap(([name, value]): [string, Record<string, unknown>][] => (!Object.hasOwn(SECTIONS, name) && isEnv(value) ? [[name, value]] : []))
}

function unknownKeys(raw: Record<string, unknown>, envs: string[], file: string): string[] {
  const sections = Object.keys(raw).filter((key) => !Object.hasOwn(SECTIONS, key) && !envs.includes(key))
  const keys = Object.entries(KNOWN_KEYS).flatMap(([section, known]) => {
    const table = raw[section]
    if (typeof table !== 'object' || table === null || Array.isArray(table)) return []
    const isName = (value: unknown): boolean => section === 'packages' && typeof value === 'string'
    return Object.entries(table).flatMap(([key, value]) => (known.includes(key) || isName(value) ? [] : [`${section}.${key}`]))
  })
  const choices = (key: string): string => (key.includes('.') ? (KNOWN_KEYS[key.split('.')[0] ?? ''] ?? []) : Object.keys(SECTIONS)).join(', ')
  return [...sections, ...keys].map((key) => `${file}: \`${key}\` is not known and was passed over; there are ${choices(key)}.`)
}

function notServed({ system, node_reqs, tools }: ReferenceFile, { file, os }: ConfigContext): string[] {
  const packages = system?.[os] ?? []
  const packs = Array.isArray(node_reqs) ? node_reqs : Object.keys(node_reqs ?? {})
  return [
    ...(packages.length > 0 ? [`${file} asks for system packages that you must install yourself: ${packages.join(', ')}.`] : []),
    ...(packs.length > 0 ? [`${file} asks for other node packs: ${packs.join(', ')}.`] : []),
    ...(tools ? [`${file} asks for tools that you must install yourself: ${Object.keys(tools).join(', ')}.`] : []),
  ]
}

function condaWarning(env: NamedEnv, file: string): string[] {
  const packages = env.conda?.packages ?? []
  return packages.length > 0 ? [`${file}: conda packages cannot be installed here (uv has none): ${packages.join(', ')}.`] : []
}

/** Needs of the environment tables: the one that is used, and what is said of the others. */
async function envNeeds(envs: [string, NamedEnv][], context: ConfigContext): Promise<Pick<PackNeeds, 'python' | 'cuda' | 'warnings'>> {
  const [first, ...others] = envs
  if (!first) return { python: [], cuda: [], warnings: [] }
  const lists = await packageLists(first[1].packages, context)
  const ignored = others.length > 0 ? [`${context.file}: of its environments only \`${first[0]}\` is used, not ${others.map(([name]) => name).join(', ')}.`] : []
  return { python: lists.python, cuda: [...lists.cuda, ...cudaList(first[1].cuda)], warnings: [...lists.warnings, ...condaWarning(first[1], context.file), ...ignored] }
}

/** Reads a config of the Python library `comfyui-envmanager`. Throws CONFIG_SYNTAX or CONFIG_INVALID with line and column. */
export async function referenceNeeds(text: string, context: ConfigContext): Promise<PackNeeds> {
  const { file, path } = context
  const raw = parseToml(text, path)
  const parsed = ReferenceFile.safeParse(raw)
  if (!parsed.success) throw configError(parsed.error, text, path)
  const envs = namedEnvs(raw).map(([name, table]): [string, NamedEnv] => {
    const env = z.strictObject({ [name]: NamedEnv }).safeParse({ [name]: table })
    if (!env.success) throw configError(env.error, text, path)
    return [name, env.data[name] as NamedEnv]
  })
  const config = parsed.data
  const used = { ...envs[0]?.[1], ...config.env }
  const [main, named, local] = await Promise.all([
    packageLists(config.packages, context),
    envNeeds(envs, context),
    envNeeds(config.local ? [['local', config.local]] : [], context),
  ])
  const all = [main, named, local]
  const cuda = config.env?.cuda_version ?? config.env?.cuda ?? used.cuda_version ?? used.cuda
  const needs: PackNeeds = {
    ...noNeeds(file),
    python: all.flatMap(({ python }) => python),
    cuda: [...all.flatMap((part) => part.cuda), ...cudaList(config.cuda)],
    sources: config.sources?.wheel_sources ?? [],
    indexes: config.sources?.index_urls ?? [],
    pythonVersion: used.python ?? null,
    torchVersion: fixedVersion(used.pytorch_version ?? used.pytorch),
    cudaVersion: fixedVersion(cuda),
    variables: config.variables ?? {},
    warnings: [
      ...unknownKeys(raw, envs.map(([name]) => name), file),
      ...all.flatMap(({ warnings }) => warnings),
      ...notServed(config, context),
    ],
  }
  checkVersions(needs, path)
  return needs
}

function checkVersions({ pythonVersion, torchVersion, cudaVersion }: PackNeeds, path: string): void {
  const wrong = (key: string, value: string, wanted: string): never => {
    throw new BridgeError('CONFIG_INVALID', `${path}: ${key}: \`${value}\` is not ${wanted}.`, { details: { file: path, key } })
  }
  if (pythonVersion !== null && !/^3\.\d+(\.\d+)?$/.test(pythonVersion)) wrong('python', pythonVersion, 'a version such as "3.12"')
  if (torchVersion !== null && !/^\d+\.\d+(\.\d+)?(\+\w+)?$/.test(torchVersion)) wrong('pytorch_version', torchVersion, '"auto" or a version such as "2.8.0"')
  if (cudaVersion !== null && cudaVersion !== 'none' && !/^\d+\.\d+$/.test(cudaVersion)) wrong('cuda', cudaVersion, '"auto", "none" or a version such as "12.8"')
}
