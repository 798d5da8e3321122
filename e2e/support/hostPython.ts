import { execFileSync } from 'node:child_process'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PYTHON } from '../../scripts/devPython.ts'

/** A Python for the test host whose packages may be changed: its own site-packages first, those of the development Python behind them. */
export function hostPython(folder: string): string {
  const venv = join(folder, 'host-venv')
  execFileSync(join(PYTHON, '..', 'uv'), ['venv', '--quiet', '--python', PYTHON, venv])
  const python = join(venv, 'bin', 'python')
  const site = join(venv, 'lib', readdirSync(join(venv, 'lib'))[0] ?? '', 'site-packages')
  const shared = execFileSync(PYTHON, ['-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'], { encoding: 'utf8' }).trim()
  writeFileSync(join(site, 'zzz_shared.pth'), `${shared}\n`)
  return python
}
