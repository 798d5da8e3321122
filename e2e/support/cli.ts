import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { PYTHON, ROOT } from '../../scripts/devPython.ts'

export interface CliResult {
  code: number | null
  stdout: string
  stderr: string
  /** Standard output as JSON; null if it is none. */
  json: unknown
}

const BRIDGE = join(ROOT, 'bridge', 'dist', 'comfy-env.mjs')

export interface CliOptions {
  env?: Record<string, string>
  input?: string
}

export interface RunningCli {
  process: ChildProcess
  /** What it has printed on standard error. */
  stderr: () => string
  ended: Promise<CliResult>
}

/** Starts `comfy-env`. */
export function startComfyEnv(args: string[], options: CliOptions = {}): RunningCli {
  const env = { ...process.env, COMFY_ENV_INTERPRETER: PYTHON, COMFY_ENV_REGISTRY: 'off', ...options.env }
  const child = spawn(process.execPath, [BRIDGE, ...args], { env })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
  child.stdin.end(options.input ?? '')
  const ended = new Promise<CliResult>((resolve) => {
    child.once('close', (code) => {
      let json: unknown = null
      try {
        json = JSON.parse(stdout)
      } catch {
        json = null
      }
      resolve({ code, stdout, stderr, json })
    })
  })
  return { process: child, stderr: () => stderr, ended }
}

/** Runs `comfy-env` to its end. */
export const comfyEnv = (args: string[], options: CliOptions = {}): Promise<CliResult> => startComfyEnv(args, options).ended
