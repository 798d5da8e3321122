/** Runs the development Python with the given arguments: `node scripts/py.ts -m pytest`. */
import { spawnSync } from 'node:child_process'
import { ensurePython } from './devPython.ts'

const { status } = spawnSync(ensurePython(), process.argv.slice(2), { stdio: 'inherit' })
process.exitCode = status ?? 1
