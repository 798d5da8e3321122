import { constants } from 'node:fs'
import { type FileHandle, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import { reasonOf } from '../errors/systemError'
import { isAbsent, unreadable } from '../files'
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

/** The first bytes of an open file, one more than it may have. Throws CONFIG_INVALID for what is no file. */
async function firstBytes(file: FileHandle, path: string): Promise<Buffer> {
  if (!(await file.stat()).isFile()) throw new BridgeError('CONFIG_INVALID', `${path} is no file.`, { hint: 'Rename it, or put a file there.' })
  const buffer = Buffer.alloc(LIMIT_BYTES + 1)
  let length = 0
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length)
    length += bytesRead
    if (bytesRead === 0 || length === buffer.length) return buffer.subarray(0, length)
  }
}

/** Opened without waiting: a named pipe has no end, and nobody may be at its other one. */
async function bytesOf(path: string): Promise<Buffer | null> {
  try {
    const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    return await firstBytes(file, path).finally(() => file.close())
  } catch (error) {
    if (isAbsent(error)) return null
    throw error instanceof BridgeError ? error : unreadable(path, reasonOf(error), { cause: error })
  }
}

/** A config's text; null: there is none. Throws CONFIG_INVALID, CONFIG_SYNTAX or FILE_UNREADABLE. */
async function readSmall(path: string): Promise<string | null> {
  const bytes = await bytesOf(path)
  if (bytes === null) return null
  if (bytes.length > LIMIT_BYTES) throw new BridgeError('CONFIG_INVALID', `${path} is larger than 64 KB.`)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
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
  const subs = await readdir(join(folder, 'nodes'), { withFileTypes: true }).catch((error: unknown) => {
    if (isAbsent(error)) return []
    throw unreadable(join(folder, 'nodes'), reasonOf(error), { cause: error })
  })
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
