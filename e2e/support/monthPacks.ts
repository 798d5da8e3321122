import { existsSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Prompt } from './prompts.ts'

/** A node pack of the simulated month, as its files are now. */
export interface MonthPack {
  /** What its node classes begin with; stays, whatever its folder is called. */
  readonly prefix: string
  folder: string
  /** Another one with each change of its files, and part of what its nodes return. */
  edition: number
  /** Whether it has a further node class, an optional and a further required input, and the default of the optional one. */
  hasExtra: boolean
  hasOptional: boolean
  hasNeeded: boolean
  standard: number
  web: 'web' | 'js'
  isBroken: boolean
  presence: 'there' | 'removed' | 'disabled'
  /** The version of the package that it asks for; null: it needs none. */
  wants: string | null
}

export const newPack = (prefix: string, wants: string | null = null): MonthPack => ({
  prefix,
  folder: prefix.toLowerCase(),
  edition: 1,
  hasExtra: false,
  hasOptional: true,
  hasNeeded: false,
  standard: 7,
  web: 'web',
  isBroken: false,
  presence: 'there',
  wants,
})

/** Whether ComfyUI can load it. */
export const isSound = ({ isBroken, presence }: MonthPack): boolean => !isBroken && presence === 'there'

const OPS = `try:
    import ops
except ImportError:
    ops = None
`

function nodesOf({ prefix, edition, hasExtra, hasOptional, hasNeeded, standard, isBroken, wants }: MonthPack): string {
  const needed = hasNeeded ? ', "needed": ("INT", {"default": 2})' : ''
  const optional = hasOptional ? `, "optional": {"strength": ("INT", {"default": ${standard}})}` : ''
  const parameters = `value${hasNeeded ? ', needed' : ''}${hasOptional ? `, strength=${standard}` : ''}`
  const said = `${hasNeeded ? ' needed {needed}' : ''}${hasOptional ? ' strength {strength}' : ''}`
  const extra = `
class ${prefix}Extra(Base):
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {"default": 1})}}

    @classmethod
    def VALIDATE_INPUTS(cls, value):
        return True if value != 3 else "no three"

    def run(self, value):
        return (f"extra edition ${edition} value {value} @{PLACE}",)


CLASSES.append(${prefix}Extra)
`
  return `import hashlib
import os

${wants === null ? '' : OPS}PLACE = "isolated" if "COMFYUI_ISOLATION_WORKER" in os.environ else "inside"


class Base:
    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING",), "run", "month"


class ${prefix}Main(Base):
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {"default": 1})${needed}}${optional}}

    def run(self, ${parameters}):
        return (f"main edition ${edition} value {value}${said}${wants === null ? '' : ' ops {ops and ops.__version__}'} @{PLACE}",)


class ${prefix}Tint(Base):
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    def run(self, image):
        return (image * ${edition} / 100,)


class ${prefix}Digest(Base):
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    def run(self, image):
        return (f"digest edition ${edition} {hashlib.sha1(image.contiguous().numpy().tobytes()).hexdigest()} @{PLACE}",)


CLASSES = [${prefix}Main, ${prefix}Tint, ${prefix}Digest]
${hasExtra ? extra : ''}${isBroken ? 'this is no Python\n' : ''}`
}

const INIT = (web: string): string => `from .nodes import CLASSES

WEB_DIRECTORY = "./${web}"
NODE_CLASS_MAPPINGS = {cls.__name__: cls for cls in CLASSES}
`

const placeOf = (pack: MonthPack): string | null => (pack.presence === 'removed' ? null : pack.presence === 'disabled' ? `${pack.folder}.disabled` : pack.folder)

/** Moves a pack's folder to where the pack now has it. Without a place its files are gone. */
function move(root: string, from: string | null, to: string | null): void {
  if (from === to || from === null || !existsSync(join(root, from))) return
  if (to === null) rmSync(join(root, from), { recursive: true })
  else renameSync(join(root, from), join(root, to))
}

/** Writes a pack's files as they are now over those of `before`, as a pull or a manager does. `second`: their time, which Python knows its bytecode by. */
export function writePack(root: string, pack: MonthPack, second: number, before: MonthPack | null = null): void {
  const place = placeOf(pack)
  if (before) move(root, placeOf(before), place)
  if (place === null) return
  const files: Record<string, string> = {
    '__init__.py': INIT(pack.web),
    'nodes.py': nodesOf(pack),
    [`${pack.web}/month.js`]: `// ${pack.prefix} edition ${pack.edition}\n`,
    ...(pack.wants && { 'comfyui_env.toml': `[packages]\nno_deps = ["ops==${pack.wants}"]\n` }),
  }
  rmSync(join(root, place, pack.web === 'web' ? 'js' : 'web'), { recursive: true, force: true })
  mkdirSync(join(root, place, pack.web), { recursive: true })
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(root, place, name), text)
    utimesSync(join(root, place, name), second, second)
  }
}

/** Prompts with one pack, each shown by its last node; `other`: the pack that takes an image of it. */
const PROMPTS: Record<string, (prefix: string, other: string) => Prompt> = {
  'all inputs': (prefix) => shown(`${prefix}Main`, { value: 1, needed: 4, strength: 5 }),
  'the first inputs': (prefix) => shown(`${prefix}Main`, { value: 2 }),
  'a further input': (prefix) => shown(`${prefix}Main`, { value: 3, needed: 4 }),
  'an optional input': (prefix) => shown(`${prefix}Main`, { value: 4, strength: 3 }),
  'a further class': (prefix) => shown(`${prefix}Extra`, { value: 5 }),
  'a refused value': (prefix) => shown(`${prefix}Extra`, { value: 3 }),
  'a chain': (prefix, other) => ({
    '7': { class_type: 'EmptyImage', inputs: { width: 16, height: 8, batch_size: 1, color: 1234567 } },
    '8': { class_type: `${prefix}Tint`, inputs: { image: ['7', 0] } },
    ...shown(`${other}Digest`, { image: ['8', 0] }),
  }),
}
export const KINDS = Object.keys(PROMPTS)
export const CHAIN = 'a chain'

const shown = (cls: string, inputs: Record<string, unknown>): Prompt => ({
  '1': { class_type: cls, inputs },
  '2': { class_type: 'PreviewAny', inputs: { source: ['1', 0] } },
})

/** A prompt of that kind. `turn`: an input that no node knows, so that nothing of it was run before; null: ComfyUI may have its results. */
export function promptOf(kind: string, prefix: string, other: string, turn: number | null): Prompt {
  const prompt = PROMPTS[kind]?.(prefix, other) ?? {}
  if (turn === null) return prompt
  return Object.fromEntries(Object.entries(prompt).map(([id, node]) => [id, { ...node, inputs: { ...node.inputs, turn } }]))
}
