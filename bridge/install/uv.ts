import { existsSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import { startProgram } from '../program'
import type { Settings } from '../settings'
import { CHANGE_MARK } from './leftOver'

/** A line that uv printed. */
export type OnLine = (text: string) => void

/** What of our environment uv sees. A launcher's `UV_*`, `PIP_*` or `PYTHON*` must not steer an install. */
const PASSED = /^(PATH|HOME|USER|LANG|LC_\w+|TMP|TEMP|TMPDIR|SSL_CERT_\w+|https?_proxy|no_proxy|all_proxy|System\w+|windir|APPDATA|LOCALAPPDATA|USERPROFILE|COMSPEC|PATHEXT|PROGRAM\w+)$/i

function cleanEnvironment(proxy: string | null): Record<string, string> {
  const passed = Object.entries(process.env).filter(([name, value]) => PASSED.test(name) && value !== undefined)
  const ours = proxy ? { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, ALL_PROXY: proxy } : {}
  return { ...(Object.fromEntries(passed) as Record<string, string>), ...ours }
}

/** Finds uv: where the user says, beside ComfyUI's interpreter, on PATH. Null if there is none. */
export function findUv(settings: Settings, interpreter: string): string | null {
  if (settings.uv) return existsSync(settings.uv) ? settings.uv : null
  const name = process.platform === 'win32' ? 'uv.exe' : 'uv'
  const folders = [dirname(interpreter), join(dirname(interpreter), 'Scripts'), ...(process.env.PATH ?? '').split(delimiter)]
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null
}

export interface Uv {
  /** Runs uv to its end. `change`: what it and all that it starts are marked with. Throws UV_FAILED with the last lines, DISK_FULL or CANCELLED. */
  run(args: string[], options?: { onLine?: OnLine; signal?: AbortSignal; change?: string }): Promise<string>
  version(): Promise<string>
}

const DISK_FULL = /No space left on device|os error 28|not enough space on the disk|os error 112/i

function failure(args: string[], code: number | null, signal: string | null, lines: string[]): BridgeError {
  const tail = lines.slice(-20).join('\n')
  if (DISK_FULL.test(tail)) return new BridgeError('DISK_FULL', 'The disk is full.', { details: { tail } })
  const how = signal ? `was ended by ${signal}` : `failed with exit code ${code ?? 'unknown'}`
  const said = lines.find((line) => /^\s*(error|×)/i.test(line)) ?? lines.at(-1) ?? ''
  const command = args.slice(0, 2).join(' ')
  return new BridgeError('UV_FAILED', `\`uv ${command}\` ${how}${said ? `: ${said.replace(/^\s*(error:|×)\s*/i, '')}` : ''}`, {
    details: { tail },
  })
}

/** The one place that runs uv: no shell reads its arguments; without the user's uv configuration, never building from source. */
export function makeUv(path: string | null, cache: string, settings: Pick<Settings, 'offline' | 'proxy'>): Uv {
  const run: Uv['run'] = async (args, { onLine, signal, change } = {}) => {
    if (!path) throw new BridgeError('UV_MISSING', 'uv was not found.')
    const lines: string[] = []
    const note = (line: string): void => {
      lines.push(line)
      onLine?.(line)
    }
    if (signal?.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
    const { child, ended } = startProgram(path, ['--no-config', '--no-progress', '--color', 'never', '--cache-dir', cache, ...(settings.offline ? ['--offline'] : []), ...args], {
      env: { ...cleanEnvironment(settings.proxy), ...(change !== undefined && { [CHANGE_MARK]: change }) },
      extendEnv: false,
      isBound: true,
      ...(signal && { signal }),
    })
    const reading = (async () => {
      for await (const line of child.iterable({ from: 'stderr' })) note(line)
    })()
    const [result] = await Promise.all([ended, reading.catch(() => undefined)])
    if (signal?.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
    if (result.code !== 0) throw failure(args, result.code, result.signal, lines)
    return result.stdout
  }
  return { run, version: async () => (await run(['--version'])).trim().replace(/^uv (\S+).*$/, '$1') }
}
