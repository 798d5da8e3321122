import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { PYTHON } from '../../scripts/devPython.ts'
import { type CliResult, type RunningCli, startComfyEnv } from './cli.ts'
import { makeNeedyPack } from './installs.ts'
import { startWheelIndex, type WheelIndex, type WheelSpec } from './wheelIndex.ts'

/** The uv of the Python that tests run on. */
export const UV = join(PYTHON, '..', 'uv')

/** A venv that stands for ComfyUI's own, an index that all comes from, and a home of ours. */
export class OwnHost {
  readonly venv: string
  readonly python: string

  private constructor(
    readonly index: WheelIndex,
    readonly folder: string,
  ) {
    this.venv = join(folder, 'venv')
    this.python = join(this.venv, 'bin', 'python')
  }

  static async start(wheels: WheelSpec[], installed: string[]): Promise<OwnHost> {
    const host = new OwnHost(await startWheelIndex(PYTHON, wheels), mkdtempSync(join(tmpdir(), 'envmanager-inplace-')))
    execFileSync(UV, ['venv', '--quiet', '--python', PYTHON, host.venv])
    await host.uvInstall(installed)
    return host
  }

  /** What another installer than ours does. */
  async uvInstall(packages: string[]): Promise<void> {
    await promisify(execFile)(UV, ['pip', 'install', '--quiet', '--no-cache', '--python', this.python, '--default-index', this.index.simple, ...packages])
  }

  async uvUninstall(name: string): Promise<void> {
    await promisify(execFile)(UV, ['pip', 'uninstall', '--quiet', '--python', this.python, name])
  }

  get site(): string {
    return join(this.venv, 'lib', readdirSync(join(this.venv, 'lib'))[0] ?? '', 'site-packages')
  }

  pack(name: string, wheels: string[], packages: string[] = []): string {
    return makeNeedyPack(this.folder, name, wheels, packages)
  }

  start(args: string[], env: Record<string, string> = {}, home = 'home'): RunningCli {
    const settings = {
      COMFY_ENV_INTERPRETER: this.python,
      COMFY_ENV_UV: UV,
      COMFY_ENV_SOURCES: this.index.simple,
      COMFY_ENV_INDEX: this.index.simple,
      COMFY_ENV_CACHE: join(this.folder, 'cache'),
      COMFY_ENV_TORCH: '2.13.0', // the stand-in has no version file
      COMFY_ENV_CUDA: 'none',
    }
    return startComfyEnv([...args, '--home', join(this.folder, home), '--json'], { env: { ...settings, ...env } })
  }

  comfyEnv(...args: string[]): Promise<CliResult> {
    return this.start(args).ended
  }

  inPlace(pack: string, ...args: string[]): Promise<CliResult> {
    return this.comfyEnv('install', '--pack', pack, '--in-place', ...args)
  }

  /** What a line of Python prints in it. */
  says(code: string): string {
    return execFileSync(this.python, ['-c', code], { encoding: 'utf8' }).trim()
  }

  async close(): Promise<void> {
    await this.index.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
