import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import type { EnvRecord } from '../../schemas/env'
import { isSuspect } from '../../schemas/shownText'
import type { Engine } from '../engine'
import { type EnvLock, parseLock } from '../install/lock'
import { exportCommand } from './envCommands'
import { makeOutput } from './output'

afterEach(() => vi.restoreAllMocks())

test.each(['Zero\u200dWidth', 'Turned\u202eround', 'Tag\u{e0041}ged', 'C1\u009b31m', 'Quo"te\\', 'Line\nend'])('what export prints is the document that it writes: it is of the pack %j', async (pack) => {
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-export-'))
  try {
    const lock: EnvLock = { schema: 1, pack, kind: 'overlay', python: '3.11', requirements: [`x # ${pack}`], probe: [], direct: [], packages: [{ name: 'x', version: '1' }] }
    const engine = { envs: { read: async () => ({ id: 'a' }) as EnvRecord, lock: async () => lock } } as unknown as Engine
    const printed: string[] = []
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => Boolean(printed.push(String(text))))
    await exportCommand('a', undefined, engine, makeOutput(false))
    const text = printed.join('')
    expect(parseLock(text, 'x')).toEqual(lock)
    expect(isSuspect(text)).toBe(false)
    const file = join(folder, 'pylock.toml')
    await exportCommand('a', file, engine, makeOutput(false))
    expect(readFileSync(file, 'utf8')).toBe(text)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
