const HOLD = `
  const database = new (require('node:sqlite').DatabaseSync)(process.argv[1])
  database.exec('BEGIN EXCLUSIVE')
  process.stdout.write('held')
  setInterval(() => database.isOpen, 1000)
`

/** Node's arguments for another process that holds a lock until it is killed; it prints `held` once it does. The lock's folder is there. */
export const lockHolder = (path: string): string[] => ['--no-warnings', '-e', HOLD, path]
