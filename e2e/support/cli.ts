import { spawn } from 'node:child_process'
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

/** Runs `comfy-env`. */
export function comfyEnv(args: string[], options: { env?: Record<string, string>; input?: string } = {}): Promise<CliResult> {
  const env = { ...process.env, COMFY_ENV_INTERPRETER: PYTHON, COMFY_ENV_REGISTRY: 'off', ...options.env }
  const child = spawn(process.execPath, [BRIDGE, ...args], { env })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
  child.stdin.end(options.input ?? '')
  return new Promise((resolve) => {
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
}
