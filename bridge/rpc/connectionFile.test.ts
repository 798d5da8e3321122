import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { makeRunFolder } from './connectionFile'

let base: string
beforeEach(() => (base = mkdtempSync(join(tmpdir(), 'envmanager-run-'))))
afterEach(() => rmSync(base, { recursive: true, force: true }))

test.skipIf(process.platform === 'win32')('sockets that a killed bridge has left go; a file of that name stays, and so does what lies behind a link', async () => {
  const [run, theirs] = [join(base, 'home', 'run'), join(base, 'theirs')]
  for (const folder of [join(run, 'a-1'), theirs]) mkdirSync(folder, { recursive: true })
  const sockets = [join(run, 'calls.sock'), join(run, 'a-1', 'x.web.sock'), join(theirs, 'docker.sock')]
  const servers = await Promise.all(sockets.map((path) => new Promise<ReturnType<typeof createServer>>((done) => { const server = createServer().listen(path, () => done(server)) }))) // prettier-ignore
  try {
    symlinkSync(theirs, join(run, 'link'))
    writeFileSync(join(run, 'notes.sock'), 'mine')
    await makeRunFolder(join(base, 'home'))
    expect([readdirSync(run).sort(), readdirSync(join(run, 'a-1')), readdirSync(theirs)]).toEqual([['a-1', 'link', 'notes.sock'], [], ['docker.sock']])
  } finally {
    for (const server of servers) server.close()
  }
})
