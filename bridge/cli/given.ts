import { parseArgs, type ParseArgsConfig } from 'node:util'
import { BridgeError } from '../errors/bridgeError'
import { OVERRIDE_NAMES } from '../settings'

type Options = NonNullable<ParseArgsConfig['options']>

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const
const COMMON: Options = {
  json: flag,
  help: { ...flag, short: 'h' },
  version: flag,
  comfyui: text,
  interpreter: text,
  home: text,
  offline: flag,
  ...Object.fromEntries(OVERRIDE_NAMES.map((name) => [name, text])),
}

/** What one command takes. */
interface Takes {
  /** Options of its own. */
  options?: Options
  /** So many words at most. */
  words?: number
  /** Options of which one only may be there. `word`: what is said without an option. */
  either?: string[][]
  /** What to do with a word too many. */
  instead?: string
}

export const COMMANDS: Record<string, Takes> = {
  info: {},
  resolve: { options: { source: { ...text, multiple: true }, 'no-verify': flag }, words: Infinity },
  why: { words: Infinity },
  find: { options: { pack: { ...text, short: 'd' } }, words: 1, either: [['word', 'pack']] },
  torch: { options: { 'to-cuda': text }, words: 1 },
  install: {
    options: { pack: { ...text, short: 'd' }, env: text, sealed: text, overlay: flag, 'in-place': flag, yes: flag, 'dry-run': flag },
    either: [['sealed', 'overlay', 'in-place'], ['env', 'in-place']],
    instead: 'Name the folder of a node pack with --pack.',
  },
  snapshots: {},
  restore: { options: { force: flag }, words: 1 },
  init: { options: { dir: { ...text, short: 'd' } }, words: 1, either: [['word', 'dir']] },
  undo: { words: 1 },
  repair: { words: 1 },
  export: { words: 2 },
  import: { words: 1 },
  cleanup: { options: { delete: flag }, instead: 'It looks at everything that may go; --delete deletes it.' },
  packs: { instead: 'Name a ComfyUI with --comfyui.' },
  envs: {},
  doctor: {},
  logs: { words: 1 },
  home: { instead: 'Name another home with --home.' },
  serve: { options: { port: text, parent: flag } },
}

export const isCommand = (name: string): boolean => Object.hasOwn(COMMANDS, name)

/** What the command line was given. */
export interface Given {
  command: string
  rest: string[]
  text: (name: string) => string | undefined
  flag: (name: string) => boolean
  list: (name: string) => string[]
}

type Values = Record<string, string | boolean | (string | boolean)[] | undefined>

/** Why a command cannot be meant so, and what to do where that is not what `--help` says; null: it can. */
function faultOf(command: string, rest: string[], values: Values): { said: string; hint?: string } | null {
  const empty = Object.keys(values).find((name) => [values[name]].flat().includes(''))
  if (empty !== undefined) return { said: `--${empty} has nothing behind it`, hint: `Write a value there, or leave --${empty} out.` }
  if (!isCommand(command)) return null
  const { options = {}, words = 0, either = [], instead } = COMMANDS[command] as Takes
  const foreign = Object.keys(values).find((name) => !Object.hasOwn(COMMON, name) && !Object.hasOwn(options, name))
  if (foreign !== undefined) return { said: `${command} has no option --${foreign}` }
  if (rest.includes('')) return { said: `${command} was given a word that is empty` }
  const tooMany = rest[words]
  if (tooMany !== undefined) {
    const most = words === 0 ? 'no words' : words === 1 ? 'one word' : `${words} words`
    return { said: `${command} takes ${most} behind it, and \`${tooMany}\` is one more`, ...(instead && { hint: instead }) }
  }
  const isThere = (name: string): boolean => (name === 'word' ? rest.length > 0 : values[name] !== undefined)
  const both = either.map((names) => names.filter(isThere)).find(({ length }) => length > 1)
  if (!both) return null
  const [one, other] = both.map((name) => (name === 'word' ? `\`${rest[0]}\`` : `--${name}`))
  return { said: `${command} cannot have both ${one} and ${other}`, hint: 'Leave one of them out.' }
}

/** Reads the command line. Throws BAD_USAGE for whatever in it would do nothing. */
export function parse(args: string[]): Given {
  try {
    const options: Options = Object.assign({}, COMMON, ...Object.values(COMMANDS).map((takes) => takes.options))
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
    const [command = '', ...rest] = positionals
    const given = values as Values
    const fault = faultOf(command, rest, given)
    if (fault) throw new BridgeError('BAD_USAGE', `comfy-env: ${fault.said}.`, fault.hint === undefined ? {} : { hint: fault.hint })
    return {
      command,
      rest,
      text: (name) => (typeof given[name] === 'string' ? given[name] : undefined),
      flag: (name) => given[name] === true,
      list: (name) => (Array.isArray(given[name]) ? given[name].map(String) : []),
    }
  } catch (cause) {
    if (cause instanceof BridgeError) throw cause
    const said = cause instanceof Error ? (cause.message.split('. ')[0] ?? '') : String(cause)
    throw new BridgeError('BAD_USAGE', `comfy-env: ${said}.`, { cause })
  }
}
