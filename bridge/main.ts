import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { HELP } from './cli/help'
import { cleanupCommand, envsCommand, exportCommand, importCommand, repairCommand, undoCommand } from './cli/envCommands'
import { findCommand, torchCommand } from './cli/findCommand'
import { inPlaceCommand, restoreCommand, snapshotsCommand } from './cli/inPlaceCommand'
import { initCommand } from './cli/initCommand'
import { installCommand } from './cli/installCommand'
import { doctorCommand, infoCommand, packsCommand } from './cli/listCommands'
import { logsCommand } from './cli/logsCommand'
import { makeOutput, reportError, type Output } from './cli/output'
import { resolveCommand, whyCommand } from './cli/resolveCommand'
import { serveCommand } from './cli/serveCommand'
import { makeEngine, type Engine } from './engine'
import { BridgeError } from './errors/bridgeError'
import { recoverInPlace } from './install/inPlace'
import { packAt } from './packs/scan'
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
  offline: flag,
  ...Object.fromEntries(OVERRIDE_NAMES.map((name) => [name, text])),
}
/** Options of one command alone. */
const OWN: Record<string, ParseArgsConfig['options']> = {
  info: {},
  resolve: { source: { ...text, multiple: true }, 'no-verify': flag },
  why: {},
  find: { pack: { ...text, short: 'd' } },
  torch: { 'to-cuda': text },
  install: { pack: { ...text, short: 'd' }, env: text, sealed: text, overlay: flag, 'in-place': flag, yes: flag, 'dry-run': flag },
  snapshots: {},
  restore: {},
  init: { dir: { ...text, short: 'd' } },
  undo: {},
  repair: {},
  export: {},
  import: {},
  cleanup: { delete: flag },
  packs: {},
  envs: {},
  doctor: {},
  logs: {},
  serve: { port: text, parent: flag, run: text },
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

type Command = (given: Given, engine: Engine, output: Output) => Promise<number> | number

/** Commands that need to know the machine. */
const COMMANDS: Record<string, Command> = {
  info: (_, engine, output) => infoCommand(engine, output),
  resolve: (given, engine, output) => resolveCommand(given.rest, given.list('source'), !given.flag('no-verify'), engine, output),
  why: (given, engine, output) => whyCommand(given.rest, engine, output),
  find: (given, engine, output) => findCommand(given.text('pack') ?? given.rest[0], engine, output),
  torch: (given, engine, output) => torchCommand(given.rest[0], given.text('to-cuda'), engine, output),
  install: async (given, engine, output) => {
    if (given.flag('in-place')) return inPlaceCommand(await packAt(given.text('pack') ?? '.'), given.flag('dry-run'), given.flag('yes'), engine, output)
    const [pack, env, sealed] = ['pack', 'env', 'sealed'].map(given.text)
    return installCommand({ pack, env, sealed, overlay: given.flag('overlay'), dryRun: given.flag('dry-run') }, engine, output)
  },
  packs: (_, engine, output) => packsCommand(engine, output),
  envs: (_, engine, output) => envsCommand(engine, output),
  undo: (given, engine, output) => undoCommand(given.rest[0], engine, output),
  repair: (given, engine, output) => repairCommand(given.rest[0], engine, output),
  export: (given, engine, output) => exportCommand(given.rest[0], given.rest[1], engine, output),
  import: (given, engine, output) => importCommand(given.rest[0], engine, output),
  snapshots: (_, engine, output) => snapshotsCommand(engine, output),
  restore: (given, engine, output) => restoreCommand(given.rest[0], engine, output),
  cleanup: (given, engine, output) => cleanupCommand(given.flag('delete'), engine, output),
  doctor: (_, engine, output) => doctorCommand(engine, output),
  serve: (given, engine, output) => serveCommand(given.text('port'), given.flag('parent'), given.text('run'), engine, output),
}

async function run(given: Given, output: Output): Promise<number> {
  const { command, rest } = given
  if (!Object.hasOwn(OWN, command)) throw new BridgeError('BAD_USAGE', `comfy-env has no command \`${command}\`.`)
  const comfyui = given.text('comfyui') ?? comfyuiOf(given.text('pack'))
  const names = ['interpreter', 'home', ...OVERRIDE_NAMES]
  const offline = given.flag('offline') ? { offline: '1' } : {}
  const settings = readSettings({ ...Object.fromEntries(names.map((name) => [name, given.text(name)])), ...(comfyui && { comfyui }), ...offline })
  if (settings.fault && command !== 'serve') throw settings.fault
  settings.unknown.forEach((text) => output.note(text))
  if (command === 'logs') return logsCommand(rest[0], settings.home, output)
  if (command === 'init') return initCommand(given.text('dir') ?? rest[0], output)
  for (const told of await recoverInPlace(settings.home)) output.note(told)
  return await (COMMANDS[command] as Command)(given, await makeEngine(settings), output)
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
