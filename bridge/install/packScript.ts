import { randomUUID } from 'node:crypto'
import { stat, writeFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import { endMarked } from '../marked'
import { readInstalled } from '../packs/installed'
import { normalizeName } from '../resolve/requirement'
import { endOf, run } from '../run'
import type { Reporter } from './build'
import { CHANGE_MARK } from './leftOver'
import type { EnvLock } from './lock'
import { TORCH_FAMILY } from './plan'

const SCRIPT_MS = 30 * 60_000

/** What no install script may move: torch's family and numpy as they are, and the wheels that were chosen for this machine. */
async function guarded(site: string, hostSites: string[], lock: EnvLock): Promise<string[]> {
  const sites = lock.kind === 'sealed' ? [site] : [site, ...hostSites]
  const installed = await readInstalled(sites)
  const names = new Set([...TORCH_FAMILY, 'numpy', ...lock.direct])
  const pins = lock.packages.flatMap(({ name, archive }) => (archive?.url && lock.direct.includes(normalizeName(name)) ? [`${name} @ ${archive.url}`] : []))
  const pinned = new Set(lock.direct)
  const versions = [...installed].filter(([name]) => names.has(name) && !pinned.has(name)).map(([name, version]) => `${name}==${version}`)
  return [...versions, ...pins]
}

/** Environment of a pack's own install script: its `pip` and its `uv` write into the env only, and obey the same constraints. */
export function scriptEnvironment(python: string, constraints: string): Record<string, string> {
  const prefix = dirname(dirname(python))
  return {
    PIP_CONSTRAINT: constraints,
    UV_CONSTRAINT: constraints, // each tool obeys only its own variable
    PIP_REQUIRE_VIRTUALENV: '1',
    PIP_NO_INPUT: '1',
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
    VIRTUAL_ENV: prefix,
    UV_PYTHON: python,
    PATH: [dirname(python), process.env.PATH ?? ''].join(delimiter),
    COMFYUI_ENVMANAGER_INSTALLING: '1',
  }
}

/**
 * Runs a pack's `install.py` with the env's Python, as ComfyUI's managers do, under constraints that hold torch. A script that
 * fails is told and does not fail the install: many try to do more than the pack needs.
 */
export async function runInstallScript(packDir: string, python: string, site: string, hostSites: string[], lock: EnvLock, { reporter, signal }: { reporter: Reporter; signal: AbortSignal }): Promise<void> {
  const script = join(packDir, 'install.py')
  if (!(await stat(script).then((found) => found.isFile(), () => false))) return
  const constraints = join(dirname(dirname(python)), 'constraints.txt')
  await writeFile(constraints, `${(await guarded(site, hostSites, lock)).join('\n')}\n`)
  reporter.log('run install.py of the pack; torch and numpy are held')
  const onLine = (text: string): void => {
    if (text) reporter.log(text)
  }
  const change = randomUUID()
  const ran = await run(python, [script], SCRIPT_MS, { env: { ...scriptEnvironment(python, constraints), [CHANGE_MARK]: change }, signal, cwd: packDir, onLine, isBound: true })
  if (!(await endMarked(CHANGE_MARK, change))) reporter.log('what install.py has started apart still runs, and does not end', 'warn')
  if (signal.aborted) throw new BridgeError('CANCELLED', 'Cancelled.')
  if (ran.code !== 0) reporter.log(`install.py ${endOf(ran, SCRIPT_MS)}. The pack may still work.`, 'warn')
}
