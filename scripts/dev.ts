/** Builds the panel and the bridge again at each change. ComfyUI loads them at its next start (the panel: at a page reload). */
import { spawn } from 'node:child_process'

for (const mode of ['panel', 'bridge']) {
  spawn(process.execPath, ['node_modules/vite/bin/vite.js', 'build', '--watch', '--mode', mode], { stdio: 'inherit' })
}
