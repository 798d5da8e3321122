import type { Settings } from '../settings'

/** Options that say where ordinary packages come from. */
function sources({ index, findLinks }: Pick<Settings, 'index' | 'findLinks'>): string[] {
  return [...(index ? ['--default-index', index] : []), ...(findLinks ? ['--find-links', findLinks] : [])]
}

interface CompileArgs {
  interpreter: string
  requirements: string
  constraints: string
  excludes: string
  settings: Pick<Settings, 'index' | 'findLinks'>
}

/** Resolve to exact wheels with address, size and hash (PEP 751); nothing is built. */
export function compileArgs({ interpreter, requirements, constraints, excludes, settings }: CompileArgs): string[] {
  const form = ['--format', 'pylock.toml', '--no-header', '--no-annotate', '--only-binary', ':all:']
  const limits = ['--constraints', constraints, '--excludes', excludes]
  return ['pip', 'compile', '--python', interpreter, ...form, ...limits, ...sources(settings), requirements]
}

export function venvArgs(interpreter: string, folder: string): string[] {
  return ['venv', '--python', interpreter, '--no-project', '--no-python-downloads', folder]
}

/** Install exactly the lock file's wheels; their hashes are enforced by uv. */
export function installLockArgs(python: string, lock: string): string[] {
  return ['pip', 'install', '--python', python, '--no-deps', '--no-build', '--preview-features', 'pylock', '--requirements', lock]
}

export function installWheelsArgs(python: string, files: string[]): string[] {
  return ['pip', 'install', '--python', python, '--no-deps', '--no-build', '--', ...files]
}
