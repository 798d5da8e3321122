import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Keeps a folder or file from being changed, by root too; the answer lets go of it. Throws where `CAN_FREEZE` is false. */
export function freeze(path: string): () => void {
  execFileSync('chattr', ['+i', path], { stdio: 'ignore' })
  return () => execFileSync('chattr', ['-i', path])
}

function tryIt(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-freeze-'))
  try {
    freeze(folder)()
    return true
  } catch {
    return false
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Whether this user may, with a file system that can. */
export const CAN_FREEZE = tryIt()
