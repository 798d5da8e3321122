import type { EnvCombination } from '../../schemas/env'
import type { Settings } from '../settings'

type SourceSettings = Pick<Settings, 'index' | 'findLinks' | 'torchIndex'>

/** Options that say where ordinary packages come from. */
function sources({ index, findLinks }: SourceSettings, extra: readonly string[] = []): string[] {
  return [
    ...extra.flatMap((url) => ['--index', url]),
    ...(index ? ['--default-index', index] : []),
    ...(findLinks ? ['--find-links', findLinks] : []),
  ]
}

/** Where torch comes from: PyTorch's own index for the CUDA of a sealed env, unless the user names another place. */
function torchSource({ torchIndex }: SourceSettings, combination: EnvCombination | null): string[] {
  if (!combination || torchIndex === 'none') return []
  if (torchIndex) return ['--index', torchIndex]
  return ['--torch-backend', combination.cuda === null ? 'cpu' : `cu${combination.cuda.replace('.', '')}`]
}

interface CompileArgs {
  interpreter: string
  requirements: string
  constraints: string
  excludes: string
  combination: EnvCombination | null
  /** Indexes that the pack names and that were allowed. */
  indexes: readonly string[]
  settings: SourceSettings
}

/** Resolve to exact wheels with address, size and hash (PEP 751); nothing is built. */
export function compileArgs({ interpreter, requirements, constraints, excludes, combination, indexes, settings }: CompileArgs): string[] {
  const form = ['--format', 'pylock.toml', '--no-header', '--no-annotate', '--only-binary', ':all:']
  const limits = ['--constraints', constraints, '--excludes', excludes]
  const python = ['--python', interpreter, ...(combination ? ['--python-version', combination.python] : [])]
  return ['pip', 'compile', ...python, ...form, ...limits, ...torchSource(settings, combination), ...sources(settings, indexes), requirements]
}

/** What uv calls a platform tag (its `--python-platform`). */
export function uvPlatform(tag: string): string {
  const [, linux] = /^linux_(\w+)$/.exec(tag) ?? []
  if (linux) return `${linux}-manylinux_2_40`
  if (tag === 'win_amd64') return 'x86_64-pc-windows-msvc'
  if (tag === 'win_arm64') return 'aarch64-pc-windows-msvc'
  return tag.endsWith('arm64') ? 'aarch64-apple-darwin' : 'x86_64-apple-darwin'
}

/** The wheels that the default index has of one requirement, for any machine: which of them fits is ours to say. */
export function lookUpArgs(requirements: string, python: string, platform: string, settings: SourceSettings): string[] {
  const form = ['--format', 'pylock.toml', '--no-header', '--no-annotate', '--no-deps', '--only-binary', ':all:']
  return ['pip', 'compile', '--python-version', python, '--python-platform', uvPlatform(platform), ...form, ...sources(settings), requirements]
}

/** A venv in a folder that has our mark already. A sealed one may be of another Python, which uv fetches if it is not here. */
export function venvArgs(python: string, folder: string, mayDownload: boolean): string[] {
  return ['venv', '--python', python, '--no-project', '--allow-existing', ...(mayDownload ? [] : ['--no-python-downloads']), folder]
}

/** Install exactly the lock file's wheels; their hashes are enforced by uv. */
export function installLockArgs(python: string, lock: string): string[] {
  return ['pip', 'install', '--python', python, '--no-deps', '--no-build', '--preview-features', 'pylock', '--requirements', lock]
}

export function installWheelsArgs(python: string, files: string[]): string[] {
  return ['pip', 'install', '--python', python, '--no-deps', '--no-build', '--', ...files]
}
