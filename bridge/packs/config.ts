import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import { noNeeds, type PackNeeds } from './needs'
import { isPixiFile, pixiNeeds, rootWarnings } from './pixiConfig'
import { type ConfigContext, referenceNeeds } from './referenceConfig'

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

type System = ConfigContext['os']

async function readSmall(path: string): Promise<string | null> {
  const found = await stat(path).catch(() => null)
  if (!found?.isFile()) return null
  if (found.size > LIMIT_BYTES) throw new BridgeError('CONFIG_INVALID', `${path} is larger than 64 KB.`)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path))
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause
    throw new BridgeError('CONFIG_SYNTAX', `${path} is not UTF-8 text.`, { cause })
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

function contextOf(folder: string, file: string, os: System): ConfigContext {
  return { file, path: join(folder, file), os, readRequirements: (name) => requirementsText(join(folder, name)) }
}

/** `nodes/comfy-env.toml` and `nodes/<sub>/comfy-env.toml`, where comfy-env 0.4 looks. */
async function pixiFiles(folder: string): Promise<string[]> {
  const subs = await readdir(join(folder, 'nodes'), { withFileTypes: true }).catch(() => [])
  const below = subs.filter((entry) => entry.isDirectory()).map(({ name }) => `nodes/${name}/comfy-env.toml`)
  return ['nodes/comfy-env.toml', ...below.sort()]
}

function merge(all: PackNeeds[]): PackNeeds | null {
  const [first, ...others] = all
  if (!first) return null
  return {
    ...first,
    python: all.flatMap(({ python }) => python),
    cuda: all.flatMap(({ cuda }) => cuda),
    indexes: all.flatMap(({ indexes }) => indexes),
    pythonVersion: all.map(({ pythonVersion }) => pythonVersion).find((version) => version !== null) ?? null,
    environment: Object.assign({}, ...all.map(({ environment }) => environment)) as Record<string, string>,
    warnings: [...all.flatMap(({ warnings }) => warnings), ...others.map(({ file }) => `${file} and ${first.file} are installed into one environment.`)],
  }
}

async function fromPixi(folder: string, os: System): Promise<PackNeeds | null> {
  const found: PackNeeds[] = []
  for (const file of await pixiFiles(folder)) {
    const text = await readSmall(join(folder, file))
    if (text !== null) found.push(pixiNeeds(text, contextOf(folder, file, os)))
  }
  const root = await readSmall(join(folder, 'comfy-env-root.toml'))
  const merged = merge(found)
  if (root === null) return merged
  const warnings = rootWarnings(root, contextOf(folder, 'comfy-env-root.toml', os))
  const needs = merged ?? noNeeds('comfy-env-root.toml')
  return { ...needs, warnings: [...warnings, ...needs.warnings] }
}

async function fromReference(folder: string, os: System): Promise<PackNeeds | null> {
  for (const file of CONFIG_FILES) {
    const text = await readSmall(join(folder, file))
    if (text === null) continue
    const context = contextOf(folder, file, os)
    return file === 'comfy-env.toml' && isPixiFile(text, context) ? pixiNeeds(text, context) : referenceNeeds(text, context)
  }
  return null
}

/** Reads what the pack in `folder` needs: its config file, else its `requirements.txt`, else nothing. */
export async function readPackNeeds(folder: string, os: System): Promise<PackNeeds> {
  const needs = (await fromReference(folder, os)) ?? (await fromPixi(folder, os))
  const plain = await requirementsText(join(folder, 'requirements.txt'))
  if (!needs) return plain ? { ...noNeeds('requirements.txt'), ...plain } : noNeeds(null)
  // comfy-env 0.4's files do not stand in for requirements.txt, which ComfyUI's managers install as well
  const beside = needs.file?.startsWith('nodes/') || needs.file === 'comfy-env-root.toml'
  const own = (plain?.python ?? []).filter((line) => !/^(comfy[-_]env|comfyui[-_]envmanager)\b/i.test(line))
  return beside ? { ...needs, python: [...needs.python, ...own] } : needs
}
