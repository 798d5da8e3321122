import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

const HOLD = `
  const database = new (require('node:sqlite').DatabaseSync)(process.argv[1])
  database.exec('BEGIN EXCLUSIVE')
  process.stdout.write('held')
  setInterval(() => database.isOpen, 1000)
`

/** Another process that holds a lock until it is killed; its folder is there. */
export async function holdLock(path: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--no-warnings', '-e', HOLD, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout ?? child, 'data')
  return child
}
