import { execFileSync } from 'node:child_process'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { PYTHON, ROOT } from '../../scripts/devPython.ts'

/** Makes the zip and unpacks it there; returns the folder that a user puts into `custom_nodes`. */
export function unpackRelease(folder: string): string {
  execFileSync(process.execPath, [join(ROOT, 'scripts', 'pack.ts')], { stdio: 'pipe' })
  const release = join(ROOT, 'release')
  const zip = readdirSync(release).find((name) => name.endsWith('.zip')) ?? ''
  execFileSync(PYTHON, ['-m', 'zipfile', '-e', join(release, zip), folder])
  rmSync(release, { recursive: true, force: true })
  return join(folder, 'comfyui-envmanager')
}
