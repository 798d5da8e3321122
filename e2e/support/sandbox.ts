import { execFileSync } from 'node:child_process'

/** Whether this machine has bubblewrap and user namespaces. */
export function sandboxWorks(): boolean {
  try {
    execFileSync('bwrap', ['--ro-bind', '/', '/', '--unshare-all', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
