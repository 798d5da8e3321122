import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { type Given, isCommand, parse } from './cli/given'
import { HELP } from './cli/help'
import { cleanupCommand, envsCommand, exportCommand, importCommand, repairCommand, undoCommand } from './cli/envCommands'
import { findCommand, torchCommand } from './cli/findCommand'
import { homeCommand } from './cli/homeCommand'
import { inPlaceCommand, restoreCommand, snapshotsCommand } from './cli/inPlaceCommand'
import { initCommand } from './cli/initCommand'
import { installCommand } from './cli/installCommand'
import { doctorCommand, infoCommand, packsCommand } from './cli/listCommands'
import { logsCommand } from './cli/logsCommand'
import { makeOutput, outliveReaders, reportError, type Output } from './cli/output'
import { resolveCommand, whyCommand } from './cli/resolveCommand'
import { serveCommand } from './cli/serveCommand'
import { makeEngine, type Engine } from './engine'
import { BridgeError } from './errors/bridgeError'
import { refuseForeign, takeHome } from './home'
import { recoverInPlace } from './install/hostTurn'
import { packAt } from './packs/scan'
import { OVERRIDE_NAMES, readSettings } from './settings'

/** Commands that make nothing in the home. */
const ONLY_READ = new Set(['info', 'why', 'init', 'logs', 'envs', 'snapshots'])

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
  restore: (given, engine, output) => restoreCommand(given.rest[0], given.flag('force'), engine, output),
  cleanup: (given, engine, output) => cleanupCommand(given.flag('delete'), engine, output),
  doctor: (_, engine, output) => doctorCommand(engine, output),
  serve: (given, engine, output) => serveCommand(given.text('port'), given.flag('parent'), engine, output),
}

async function run(given: Given, output: Output): Promise<number> {
  const { command, rest } = given
  if (!isCommand(command)) throw new BridgeError('BAD_USAGE', `comfy-env has no command \`${command}\`.`)
  const comfyui = given.text('comfyui') ?? comfyuiOf(given.text('pack'))
  const names = ['interpreter', 'home', ...OVERRIDE_NAMES]
  const offline = given.flag('offline') ? { offline: '1' } : {}
  const settings = readSettings({ ...Object.fromEntries(names.map((name) => [name, given.text(name)])), ...(comfyui && { comfyui }), ...offline })
  if (command !== 'init') refuseForeign(settings)
  if (settings.fault && command !== 'serve' && command !== 'home') throw settings.fault
  settings.unknown.forEach((text) => output.note(text))
  if (!ONLY_READ.has(command)) await takeHome(settings)
  if (command === 'home') return homeCommand(settings, output)
  if (command === 'logs') return logsCommand(rest[0], settings.home, output)
  if (command === 'init') return initCommand(given.text('dir') ?? rest[0], output)
  for (const told of await recoverInPlace(settings.home)) output.note(told)
  return await (COMMANDS[command] as Command)(given, await makeEngine(settings), output)
}

/** Whether something failed because the folder that we were started in has been deleted. */
const isLost = (error: unknown): boolean => error instanceof Error && 'syscall' in error && error.syscall === 'uv_cwd'

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
    return reportError(isLost(error) ? new BridgeError('BAD_USAGE', 'comfy-env: the current folder is no longer there.', { hint: 'Change into another one, then try again.' }) : error, output)
  }
}

outliveReaders()
process.exitCode = await main(process.argv.slice(2))
if (process.argv.includes('serve')) process.exit()
