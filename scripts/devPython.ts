/** The Python of development: what the test host runs on, with pytest and ruff. Made once, in `.venv`. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const ROOT = resolve(import.meta.dirname, '..')
const VENV = join(ROOT, '.venv')
const BIN = process.platform === 'win32' ? join(VENV, 'Scripts') : join(VENV, 'bin')
export const PYTHON = join(BIN, process.platform === 'win32' ? 'python.exe' : 'python')
const UV = join(BIN, process.platform === 'win32' ? 'uv.exe' : 'uv')

/** Frontend versions that the tests drive: the newest, and the one that ComfyUI 0.3.64 pins. */
export const FRONTENDS = ['1.58.1', '1.27.10'] as const
export const frontendRoot = (version: string): string =>
  join(VENV, 'frontends', version, 'comfyui_frontend_package', 'static')

const run = (file: string, args: string[], env: NodeJS.ProcessEnv = process.env): string =>
  execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], env })

function findPython(): string {
  const names = process.platform === 'win32' ? ['python', 'py'] : ['python3', 'python']
  const code = 'import sys; sys.exit(sys.version_info < (3, 10))'
  for (const name of [process.env.PYTHON, ...names].filter((given) => given !== undefined)) {
    try {
      run(name, ['-c', code])
      return name
    } catch {
      continue
    }
  }
  throw new Error('Python 3.10 or newer is needed on PATH (or named by PYTHON).')
}

/** A folder of wheels that pip is told to look into, which uv must be told as well; null if there is none. */
export function pipFindLinks(): string | null {
  if (process.env.PIP_FIND_LINKS) return process.env.PIP_FIND_LINKS.split(' ')[0] ?? null
  try {
    return run(PYTHON, ['-m', 'pip', 'config', 'get', 'global.find-links']).trim() || null
  } catch {
    return null
  }
}

function install(): void {
  const links = pipFindLinks()
  // without a local wheel, the CPU build: the default one brings gigabytes of CUDA
  const torch = links ? ['--find-links', links] : ['--torch-backend', 'cpu']
  run(UV, ['pip', 'install', '--quiet', '--python', PYTHON, ...torch, '-r', join(ROOT, 'requirements-dev.txt')])
  for (const version of FRONTENDS) {
    const target = join(VENV, 'frontends', version)
    run(UV, ['pip', 'install', '--quiet', '--python', PYTHON, '--no-deps', '--target', target, `comfyui-frontend-package==${version}`])
  }
}

/** Makes `.venv` if it is not there or its requirements have changed. Returns its interpreter. */
export function ensurePython(): string {
  const inputs = ['requirements-dev.txt', 'e2e/host/requirements.txt'].map((name) => readFileSync(join(ROOT, name), 'utf8'))
  const stamp = createHash('sha256').update(JSON.stringify([inputs, FRONTENDS])).digest('hex')
  const stampFile = join(VENV, 'ready')
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return PYTHON
  console.error('Making .venv (Python, torch for the CPU, two versions of the ComfyUI frontend) …')
  rmSync(VENV, { recursive: true, force: true })
  mkdirSync(VENV, { recursive: true })
  run(findPython(), ['-m', 'venv', VENV])
  run(PYTHON, ['-m', 'pip', 'install', '--quiet', 'uv>=0.9'])
  install()
  writeFileSync(stampFile, stamp)
  return PYTHON
}

if (process.argv[1] === import.meta.filename) ensurePython()
