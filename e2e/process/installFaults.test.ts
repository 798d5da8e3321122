import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PYTHON } from '../../scripts/devPython.ts'
import { type RunningCli, startComfyEnv } from '../support/cli.ts'
import { figure } from '../support/faults.ts'
import { errorOf, INSTALL_WHEELS, Installs, MARK, succeeds, WAITS } from '../support/installs.ts'
import { until } from '../support/processes.ts'
import { AGAIN } from '../support/rounds.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

/** How often an install is killed: the whole claim is a hundred (`KILLS=100`), a few show that it holds still. */
const KILLS = Number(process.env.KILLS ?? 12)

let index: WheelIndex
let folder: string
let on: Installs

beforeAll(async () => {
  index = await startWheelIndex(PYTHON, INSTALL_WHEELS)
  folder = mkdtempSync(join(tmpdir(), 'envmanager-faults-'))
  on = new Installs(folder, index)
})

afterAll(async () => {
  await index.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('an install that is killed', () => {
  test(`leaves the old environment or the new one, ${KILLS} times`, { timeout: 30_000 + KILLS * 8000 }, async () => {
    const contents = new Map<string, string>()
    let longest = 0
    for (const version of ['1.0', '2.0']) {
      const started = Date.now()
      await succeeds(on.start(on.pack('pack', [`ops==${version}`], [`plainly==${version}`]), 'kills'))
      contents.set(on.content('kills', 'pack'), version)
      longest = Date.now() - started
    }
    expect(contents.size).toBe(2)
    const seen = new Set<string | undefined>()
    for (let round = 0; round < KILLS; round++) {
      const version = round % 2 === 0 ? '1.0' : '2.0'
      const running = on.start(on.pack('pack', [`ops==${version}`], [`plainly==${version}`]), 'kills')
      const moment = (1.4 * longest * (round + 0.5)) / KILLS
      await Promise.race([running.ended, new Promise((resolve) => setTimeout(resolve, moment))])
      running.process.kill('SIGKILL')
      await running.ended
      const found = contents.get(on.content('kills', 'pack'))
      expect([round, moment, found]).toEqual([round, moment, expect.any(String)])
      seen.add(found)
    }
    expect(seen.size).toBe(2)
    await succeeds(on.start(on.pack('pack', ['ops==2.0'], ['plainly==2.0']), 'kills'))
    const unfinished = /^env\.json\.\d+-[0-9a-f]{12}\.tmp$/ // goes an hour after whoever wrote it was killed
    expect(readdirSync(on.env('kills', 'pack')).filter((name) => !unfinished.test(name)).sort()).toEqual(on.kept('kills', 'pack'))
    expect(on.versions('kills', 'pack')).toBe('2.0 2.0')
    figure(31, `old or new in ${KILLS} of ${KILLS}`)
  })
})

test.skipIf(process.platform === 'win32').each(['hash#%41?x=1', 'a b\u2019s \u00e9', '-dash'])('a home may be called %s (skipped: Windows has fewer names)', async (name) => {
  await succeeds(on.start(on.pack('pack', ['ops==1.0'], ['plainly==1.0']), name))
  expect(on.versions(name, 'pack')).toBe('1.0 1.0')
})

/** Cancels an install in a phase, when `when` says that it is there; milliseconds until it has ended. */
async function cancelIn(running: RunningCli, when: () => boolean): Promise<number> {
  await until('the phase', when)
  const asked = Date.now()
  running.process.kill('SIGINT')
  const { code } = await running.ended
  expect(code).toBe(130)
  return Date.now() - asked
}

describe('cancel', () => {
  const LIMIT_MS = 3000
  const stall = (prefix: string): void => index.fail(prefix, (response) => void response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': 10_000_000 }).write('PK\u0003\u0004'))

  const phases: [string, () => RunningCli, (running: RunningCli) => boolean, string][] = [
    ['planning', () => (stall('/simple/ops'), on.start(on.pack('cancelled', ['ops==2.0']), 'cancel')), () => index.asked.at(-1) === '/simple/ops/', '/simple/ops'],
    ['downloading', () => (stall('/files/ops-2.0'), on.start(on.pack('cancelled', ['ops==2.0']), 'cancel', [], { COMFY_ENV_CACHE: join(folder, 'empty-cache') })), (running) => running.stderr().includes('— downloading —'), '/files/ops-2.0'],
    ['installing', () => on.start(on.pack('cancelled', ['ops==2.0'], [], { 'install.py': WAITS }), 'cancel', [], { GATE: folder }), (running) => running.stderr().includes('run install.py'), '/none'],
    ['verifying', () => on.start(on.pack('cancelled', ['waits==1.0']), 'cancel', [], { GATE: folder }), (running) => running.stderr().includes('— verifying —'), '/none'],
  ]

  test.each(phases)('while %s: at once, nothing changed, nothing left', AGAIN, async (_, start, when, prefix) => {
    await succeeds(on.start(on.pack('cancelled', ['ops==1.0'], [], { 'install.py': '' }), 'cancel'))
    const before = on.content('cancel', 'cancelled')
    index.asked.length = 0
    const running = start()
    const took = await cancelIn(running, () => when(running)).finally(() => index.mend(prefix))
    expect(took).toBeLessThan(LIMIT_MS)
    expect(on.content('cancel', 'cancelled')).toBe(before)
    expect(readdirSync(on.env('cancel', 'cancelled')).sort()).toEqual(on.kept('cancel', 'cancelled'))
    expect(readdirSync(on.home('cancel')).filter((name) => name.startsWith('plan-'))).toEqual([])
  })
})

/** A small file system of its own; null where that needs rights that we have not. */
function smallDisk(name: string, megabytes: number): string | null {
  const disk = join(folder, name)
  mkdirSync(disk)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', disk], { stdio: 'ignore' })
    return disk
  } catch {
    return null
  }
}

/** Fills a disk to its last block. */
function fill(disk: string): void {
  try {
    execFileSync('dd', ['if=/dev/zero', `of=${join(disk, 'filler')}`, 'bs=4k'], { stdio: 'ignore' })
  } catch {
    // dd ends with an error when the disk is full, which is what is wanted
  }
}

describe('a disk that is full', () => {
  let disks = 0
  const filesOn = (disk: string): string[] =>
    readdirSync(disk, { recursive: true, withFileTypes: true }) // our mark, logs, locks and whole pages in the cache are no leftovers
      .filter((entry) => entry.isFile() && !/jobs|pages|locks/.test(entry.parentPath) && !['filler', MARK].includes(entry.name))
      .map(({ name }) => name)

  test.for(['planning', 'downloading', 'installing', 'switching'])('while %s: said so, and no file is left', AGAIN, async (phase, context) => {
    const disk = smallDisk(`disk-${phase}-${++disks}`, phase === 'downloading' ? 1 : 40)
    if (!disk) return context.skip('needs the right to mount a small file system')
    try {
      const pack = on.pack('full', [phase === 'switching' ? 'waits==1.0' : 'ops==1.0'])
      const gate = join(folder, 'gate')
      writeFileSync(gate, '')
      const env = { COMFY_ENV_CACHE: phase === 'downloading' ? join(disk, 'cache') : join(folder, 'cache'), GATE: gate }
      if (phase === 'planning') fill(disk)
      if (phase === 'downloading') {
        const bytes = Buffer.concat([Buffer.from('PK\u0003\u0004'), Buffer.alloc(4_000_000)])
        index.fail('/files/ops-1.0', (response) => void response.writeHead(200, { 'content-length': bytes.length }).end(bytes))
      }
      const running = startComfyEnv(['install', '--pack', pack, '--home', phase === 'downloading' ? on.home('full') : join(disk, 'home'), '--json'], { env: { ...on.settings, ...env } })
      if (phase === 'installing') await until('the install', () => running.stderr().includes('— installing —'))
      if (phase === 'switching') await until('the import', () => running.stderr().includes('— verifying —'))
      if (['installing', 'switching'].includes(phase)) fill(disk)
      rmSync(gate)
      const result = await running.ended
      expect([result.code, errorOf(result).code]).toEqual([1, 'DISK_FULL'])
      expect(filesOn(disk)).toEqual([])
    } finally {
      index.mend('/files/ops-1.0')
      execFileSync('umount', [disk])
    }
  })
})
