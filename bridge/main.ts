import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { HELP } from './cli/help'
import { installCommand } from './cli/installCommand'
import { doctorCommand, envsCommand, infoCommand, packsCommand } from './cli/listCommands'
import { logsCommand } from './cli/logsCommand'
import { makeOutput, reportError, type Output } from './cli/output'
import { resolveCommand, whyCommand } from './cli/resolveCommand'
import { serveCommand } from './cli/serveCommand'
import { makeEngine } from './engine'
import { BridgeError } from './errors/bridgeError'
import { OVERRIDE_NAMES, readSettings } from './settings'

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const
const COMMON = {
  json: flag,
  help: { ...flag, short: 'h' },
  version: flag,
  comfyui: text,
  interpreter: text,
  home: text,
  ...Object.fromEntries(OVERRIDE_NAMES.map((name) => [name, text])),
}
/** Options of one command alone. */
const OWN: Record<string, ParseArgsConfig['options']> = {
  info: {},
  resolve: { source: { ...text, multiple: true }, 'no-verify': flag },
  why: {},
  install: { pack: { ...text, short: 'd' }, env: text, 'dry-run': flag },
  packs: {},
  envs: {},
  doctor: {},
  logs: {},
  serve: { port: text, parent: flag },
}

interface Given {
  command: string
  rest: string[]
  text: (name: string) => string | undefined
  flag: (name: string) => boolean
  list: (name: string) => string[]
}

function parse(args: string[]): Given {
  try {
    const options = Object.assign({}, COMMON, ...Object.values(OWN)) as NonNullable<ParseArgsConfig['options']>
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
    const [command = '', ...rest] = positionals
    const own = Object.hasOwn(OWN, command) ? OWN[command] : {}
    const foreign = Object.keys(values).find((name) => !Object.hasOwn(COMMON, name) && !Object.hasOwn(own ?? {}, name))
    if (foreign && command) throw new Error(`has no option --${foreign}`)
    const given = values as Record<string, string | boolean | string[] | undefined>
    return {
      command,
      rest,
      text: (name) => (typeof given[name] === 'string' ? given[name] : undefined),
      flag: (name) => given[name] === true,
      list: (name) => (Array.isArray(given[name]) ? given[name] : []),
    }
  } catch (cause) {
    const said = cause instanceof Error ? (cause.message.split('. ')[0] ?? '') : String(cause)
    throw new BridgeError('BAD_USAGE', `comfy-env: ${said}.`, { cause })
  }
}

/** The ComfyUI that a pack's folder stands in: `<ComfyUI>/custom_nodes/<pack>`. */
function comfyuiOf(pack: string | undefined): string | undefined {
  const root = pack === undefined ? undefined : resolve(pack, '..', '..')
  return root && basename(resolve(pack ?? '', '..')) === 'custom_nodes' && existsSync(join(root, 'main.py')) ? root : undefined
}

async function run(given: Given, output: Output): Promise<number> {
  const { command, rest } = given
  if (!Object.hasOwn(OWN, command)) throw new BridgeError('BAD_USAGE', `comfy-env has no command \`${command}\`.`)
  const comfyui = given.text('comfyui') ?? comfyuiOf(given.text('pack'))
  const names = ['interpreter', 'home', ...OVERRIDE_NAMES]
  const settings = readSettings({ ...Object.fromEntries(names.map((name) => [name, given.text(name)])), ...(comfyui && { comfyui }) })
  if (command === 'logs') return logsCommand(rest[0], settings.home, output)
  const engine = await makeEngine(settings)
  switch (command) {
    case 'info':
      return infoCommand(engine, output)
    case 'resolve':
      return resolveCommand(rest, given.list('source'), !given.flag('no-verify'), engine, output)
    case 'why':
      return whyCommand(rest, engine, output)
    case 'install':
      return installCommand(given.text('pack'), given.text('env'), given.flag('dry-run'), engine, output)
    case 'packs':
      return packsCommand(engine, output)
    case 'envs':
      return envsCommand(engine, output)
    case 'doctor':
      return doctorCommand(engine, output)
    default:
      return serveCommand(given.text('port'), given.flag('parent'), engine, output)
  }
}

async function main(args: string[]): Promise<number> {
  let output = makeOutput(args.includes('--json'))
  try {
    const given = parse(args)
    output = makeOutput(given.flag('json'))
    if (given.flag('version')) {
      output.result({ version: __VERSION__ }, () => __VERSION__)
      return 0
    }
    if (given.flag('help') || given.command === '' || given.command === 'help') {
      output.result({ help: HELP }, () => HELP)
      return given.command === '' && !given.flag('help') ? 2 : 0
    }
    return await run(given, output)
  } catch (error) {
    return reportError(error, output)
  }
}

process.exitCode = await main(process.argv.slice(2))
if (process.argv.includes('serve')) process.exit()
