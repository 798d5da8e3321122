import { execFileSync } from 'node:child_process'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PYTHON } from '../../scripts/devPython.ts'

/** A Python for ComfyUI whose packages may be changed: its own site-packages first, those of `behind` after them. */
export function hostPython(folder: string, behind = PYTHON): string {
  const venv = join(folder, 'host-venv')
  execFileSync(join(PYTHON, '..', 'uv'), ['venv', '--quiet', '--python', behind, venv])
  const python = join(venv, 'bin', 'python')
  const site = join(venv, 'lib', readdirSync(join(venv, 'lib'))[0] ?? '', 'site-packages')
  const shared = execFileSync(behind, ['-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'], { encoding: 'utf8' }).trim()
  writeFileSync(join(site, 'zzz_shared.pth'), `import site; site.addsitedir(${JSON.stringify(shared)})\n`)
  return python
}
