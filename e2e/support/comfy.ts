import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { frontendRoot, PYTHON, ROOT } from '../../scripts/devPython.ts'
import { isAlive, until } from './processes.ts'

export interface ComfyOptions {
  /** Version of the frontend, one of `FRONTENDS`. */
  frontend: string
  /** Sample packs by name, or folders of packs. */
  packs: string[]
  /** Folder to work in; made and removed if not given. */
  base?: string
  port?: number
  env?: Record<string, string>
  /** Use a real ComfyUI if `COMFYUI_DIR` names one. */
  real?: boolean
  /** The Python of the test host. */
  python?: string
  /** Folder of the test host; this project's if not given. */
  host?: string
  /** Folder of the product; this project's if not given, null: without it. */
  product?: string | null
  /** Folder of a real ComfyUI, in place of the one that `COMFYUI_DIR` names. */
  comfyui?: string
  /** More arguments of ComfyUI's command line. */
  args?: string[]
}

export interface Comfy {
  url: string
  base: string
  home: string
  process: ChildProcess
  real: boolean
  /** What it has printed. */
  output: () => string
  /** Ends it as Ctrl-C does, or with another signal, and waits until it is gone. */
  stop: (signal?: NodeJS.Signals) => Promise<void>
  /** Removes the folder. */
  remove: () => void
}

/** Settings that keep the frontend's dialogs away: its welcome, and what its default workflow lacks. They swallow clicks. */
const SETTINGS = {
  'Comfy.TutorialCompleted': true,
  'Comfy.InstalledVersion': '1.27.10',
  'Comfy.Workflow.ShowMissingNodesWarning': false,
  'Comfy.Workflow.ShowMissingModelsWarning': false,
}

function freePort(): Promise<number> {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => done(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

function prepare(base: string, packs: string[], product: string | null): void {
  for (const name of ['custom_nodes', 'input', 'output', 'temp', 'user/default', 'models']) mkdirSync(join(base, name), { recursive: true })
  writeFileSync(join(base, 'user', 'default', 'comfy.settings.json'), JSON.stringify(SETTINGS))
  const ours = join(base, 'custom_nodes', 'comfyui-envmanager')
  if (product !== null && !existsSync(ours)) symlinkSync(product, ours, 'junction')
  for (const pack of packs) {
    const from = existsSync(join(ROOT, 'e2e', 'packs', pack)) ? join(ROOT, 'e2e', 'packs', pack) : resolve(pack)
    const to = join(base, 'custom_nodes', from.split(/[/\\]/).at(-1) ?? pack)
    cpSync(from, to, { recursive: true, filter: (path) => !path.includes('__pycache__') && !path.endsWith('.git') })
  }
}

/** A database of its own, where this ComfyUI has one: all would share a file in its folder. */
function database(real: string, base: string): string[] {
  const has = readFileSync(join(real, 'comfy', 'cli_args.py'), 'utf8').includes('--database-url')
  return has ? ['--database-url', `sqlite:///${join(base, 'user', 'comfyui.db')}`] : []
}

/** The command line of the real ComfyUI, or of the test host. */
function command(base: string, port: number, { frontend, python, host = join(ROOT, 'e2e', 'host'), args = [] }: ComfyOptions, real: string | null): { file: string; args: string[]; cwd: string } {
  const common = ['--base-directory', base, '--front-end-root', frontendRoot(frontend), '--port', String(port), ...args]
  if (!real) return { file: python ?? PYTHON, args: [join(host, 'main.py'), ...common], cwd: base }
  const file = python ?? process.env.COMFYUI_PYTHON ?? 'python3'
  return { file, args: [join(real, 'main.py'), '--cpu', '--disable-api-nodes', ...database(real, base), ...common], cwd: real }
}

/** Starts ComfyUI with our pack and the given ones, and waits until it serves. A port that another program took meanwhile is not insisted on. */
export async function startComfy(options: ComfyOptions): Promise<Comfy> {
  const base = options.base ?? mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
  prepare(base, options.packs, options.product === undefined ? ROOT : options.product)
  for (let tries = 1; ; tries++) {
    try {
      return await startOn(options.port ?? (await freePort()), base, options)
    } catch (error) {
      if (options.port || tries === 3 || !/already in use/.test(String(error))) throw error
    }
  }
}

async function startOn(port: number, base: string, options: ComfyOptions): Promise<Comfy> {
  const named = options.comfyui ?? process.env.COMFYUI_DIR
  const real = options.real !== false && named ? resolve(named) : null
  const home = options.env?.COMFY_ENV_HOME ?? join(base, 'user', '__envmanager')
  const { file, args, cwd } = command(base, port, options, real)
  const child = spawn(file, args, { cwd, env: { ...process.env, COMFY_ENV_REGISTRY: 'off', ...options.env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  child.stdout.on('data', (data: Buffer) => (printed += data.toString()))
  child.stderr.on('data', (data: Buffer) => (printed += data.toString()))
  const exited = new Promise<void>((done) => child.once('exit', () => done()))
  const url = `http://127.0.0.1:${port}`
  const deadline = Date.now() + 120_000
  while (!printed.includes('To see the GUI go to')) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`ComfyUI did not start:\n${printed}`)
    await pause(50)
  }
  return {
    url,
    base,
    home,
    process: child,
    real: real !== null,
    output: () => printed,
    stop: async (signal = 'SIGINT') => {
      const bridge = bridgePid(home, child.pid)
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      const late = setTimeout(() => child.kill('SIGKILL'), 5000)
      await exited
      clearTimeout(late)
      // it still writes its last log lines: the folder can go when it has gone
      if (bridge !== null) await until('the bridge to end', () => !isAlive(bridge), 5000)
    },
    remove: () => rmSync(base, { recursive: true, force: true, maxRetries: 5 }),
  }
}

export interface Connection {
  /** The folder that its file lies in. */
  run: string
  port: number
  token: string
  socket: string | null
  pid: number
  parent: number
}

function connectionIn(run: string): Connection | null {
  try {
    return { run, ...(JSON.parse(readFileSync(join(run, 'bridge.json'), 'utf8')) as Omit<Connection, 'run'>) }
  } catch {
    return null
  }
}

/** The bridges that serve a home now: any of them, or that of one process. */
export function bridgesOf(home: string, parent?: number): Connection[] {
  const runs = existsSync(join(home, 'run')) ? readdirSync(join(home, 'run')) : []
  const found = runs.map((name) => connectionIn(join(home, 'run', name))).filter((one) => one !== null)
  return found.filter((one) => isAlive(one.pid) && (parent === undefined || one.parent === parent))
}

/** The bridge's process id; null if there is none. */
export const bridgePid = (home: string, parent?: number): number | null => bridgesOf(home, parent)[0]?.pid ?? null
