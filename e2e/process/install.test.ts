import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PYTHON } from '../../scripts/devPython.ts'
import { comfyEnv, type CliResult, type RunningCli, startComfyEnv } from '../support/cli.ts'
import { until } from '../support/processes.ts'
import { treeHash } from '../support/trees.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

/** How often an install is killed: the whole claim is a hundred (`KILLS=100`), a few show that it holds still. */
const KILLS = Number(process.env.KILLS ?? 12)

const LOCAL = { local: 'cputorch2.13', python: 'here', tag: 'here' }
const WAITS = `
import os, time
while os.path.exists(os.environ["GATE"]):
    time.sleep(0.01)
`

let index: WheelIndex
let folder: string

beforeAll(async () => {
  index = await startWheelIndex(PYTHON, [
    { name: 'ops', version: '1.0', ...LOCAL, files: 150 },
    { name: 'ops', version: '2.0', ...LOCAL, files: 150 },
    { name: 'plainly', version: '1.0', files: 150 },
    { name: 'plainly', version: '2.0', files: 150 },
    { name: 'waits', version: '1.0', ...LOCAL, code: WAITS },
    { name: 'sw', version: '1.0', ...LOCAL, plain_metadata: true },
    { name: 'sw', version: '1.0', ...LOCAL, local: 'cputorch2.12', plain_metadata: true },
    { name: 'wants_torch', version: '1.0', requires: ['torch>=99'] },
  ])
  folder = mkdtempSync(join(tmpdir(), 'envmanager-install-'))
})

afterAll(async () => {
  await index.close()
  rmSync(folder, { recursive: true, force: true })
})

const home = (name: string): string => join(folder, name)
const settings = (): Record<string, string> => ({ COMFY_ENV_SOURCES: index.simple, COMFY_ENV_INDEX: index.simple, COMFY_ENV_CACHE: join(folder, 'cache') })

/** A pack that needs these wheels and packages; written over if it is there. */
function makePack(name: string, wheels: string[], packages: string[] = [], files: Record<string, string> = {}): string {
  const pack = join(folder, 'packs', name)
  mkdirSync(pack, { recursive: true })
  const list = (items: string[]): string => JSON.stringify(items)
  writeFileSync(join(pack, '__init__.py'), 'NODE_CLASS_MAPPINGS = {}\n')
  writeFileSync(join(pack, 'comfyui_env.toml'), `[packages]\nno_deps = ${list(wheels)}\nrequirements = ${list(packages)}\n`)
  for (const [file, text] of Object.entries(files)) writeFileSync(join(pack, file), text)
  return pack
}

const install = (pack: string, at: string, args: string[] = [], env: Record<string, string> = {}): RunningCli =>
  startComfyEnv(['install', '--pack', pack, '--home', home(at), '--json', ...args], { env: { ...settings(), ...env } })

async function succeeds({ ended }: RunningCli): Promise<void> {
  const { code, stdout, stderr } = await ended
  expect([code, code === 0 ? '' : `${stdout}\n${stderr}`]).toEqual([0, ''])
}

const errorOf = ({ json }: CliResult): { code: string; message: string } => (json as { error: { code: string; message: string } }).error

const recordOf = (at: string, env: string): { generation: number; previous: number | null } =>
  JSON.parse(readFileSync(join(home(at), 'envs', env, 'env.json'), 'utf8')) as { generation: number; previous: number | null }

function sites(at: string, env: string, generation: number): string {
  const lib = join(home(at), 'envs', env, `gen-${generation}`, 'lib')
  return join(lib, readdirSync(lib)[0] ?? '', 'site-packages')
}

const contentOf = (at: string, env: string): string => treeHash(sites(at, env, recordOf(at, env).generation))

const versionIn = (at: string, env: string): string =>
  execFileSync(join(home(at), 'envs', env, `gen-${recordOf(at, env).generation}`, 'bin', 'python'), ['-c', 'import ops, plainly; print(ops.__version__, plainly.__version__)'], { encoding: 'utf8' }).trim()

describe('an install that is killed', () => {
  test(`leaves the old environment or the new one, ${KILLS} times`, { timeout: 30_000 + KILLS * 8000 }, async () => {
    const contents = new Map<string, string>()
    let longest = 0
    for (const version of ['1.0', '2.0']) {
      const started = Date.now()
      await succeeds(install(makePack('pack', [`ops==${version}`], [`plainly==${version}`]), 'kills'))
      contents.set(contentOf('kills', 'pack'), version)
      longest = Date.now() - started
    }
    expect(contents.size).toBe(2)
    const seen = new Set<string | undefined>()
    for (let round = 0; round < KILLS; round++) {
      const version = round % 2 === 0 ? '1.0' : '2.0'
      const running = install(makePack('pack', [`ops==${version}`], [`plainly==${version}`]), 'kills')
      const moment = (1.4 * longest * (round + 0.5)) / KILLS
      await Promise.race([running.ended, new Promise((resolve) => setTimeout(resolve, moment))])
      running.process.kill('SIGKILL')
      await running.ended
      const found = contents.get(contentOf('kills', 'pack'))
      expect([round, moment, found]).toEqual([round, moment, expect.any(String)])
      seen.add(found)
    }
    expect(seen.size).toBe(2)
    await succeeds(install(makePack('pack', ['ops==2.0'], ['plainly==2.0']), 'kills'))
    const { generation, previous } = recordOf('kills', 'pack')
    expect(readdirSync(join(home('kills'), 'envs', 'pack')).sort()).toEqual(['env.json', `gen-${generation}`, `gen-${previous}`].sort())
    expect(versionIn('kills', 'pack')).toBe('2.0 2.0')
  })
})

describe('undo', () => {
  test('comes back byte for byte, without network, and again', async () => {
    for (const version of ['1.0', '2.0']) await succeeds(install(makePack('pack', [`ops==${version}`], [`plainly==${version}`]), 'undo'))
    const { generation, previous } = recordOf('undo', 'pack')
    const whole = (number: number | null): string => treeHash(join(home('undo'), 'envs', 'pack', `gen-${number}`), true)
    const [now, before] = [whole(generation), whole(previous)]
    const undo = (): Promise<CliResult> => comfyEnv(['undo', 'pack', '--home', home('undo'), '--offline', '--json'])
    const started = Date.now()
    expect((await undo()).code).toBe(0)
    console.log(`undo: ${Date.now() - started} ms, the start of the command included`)
    expect(versionIn('undo', 'pack')).toBe('1.0 1.0')
    expect(whole(recordOf('undo', 'pack').generation)).toBe(before)
    await undo()
    expect(whole(recordOf('undo', 'pack').generation)).toBe(now)
  })
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
    ['planning', () => (stall('/simple/ops'), install(makePack('cancelled', ['ops==2.0']), 'cancel')), () => index.asked.at(-1) === '/simple/ops/', '/simple/ops'],
    ['downloading', () => (stall('/files/ops-2.0'), install(makePack('cancelled', ['ops==2.0']), 'cancel', [], { COMFY_ENV_CACHE: join(folder, 'empty-cache') })), (running) => running.stderr().includes('— downloading —'), '/files/ops-2.0'],
    ['installing', () => install(makePack('cancelled', ['ops==2.0'], [], { 'install.py': WAITS }), 'cancel', [], { GATE: folder }), (running) => running.stderr().includes('run install.py'), '/none'],
    ['verifying', () => install(makePack('cancelled', ['waits==1.0']), 'cancel', [], { GATE: folder }), (running) => running.stderr().includes('— verifying —'), '/none'],
  ]

  test.each(phases)('while %s: at once, nothing changed, nothing left', async (_, start, when, prefix) => {
    await succeeds(install(makePack('cancelled', ['ops==1.0'], [], { 'install.py': '' }), 'cancel'))
    const before = contentOf('cancel', 'cancelled')
    index.asked.length = 0
    const running = start()
    const took = await cancelIn(running, () => when(running)).finally(() => index.mend(prefix))
    expect(took).toBeLessThan(LIMIT_MS)
    expect(contentOf('cancel', 'cancelled')).toBe(before)
    const { generation, previous } = recordOf('cancel', 'cancelled')
    const kept = ['env.json', `gen-${generation}`, ...(previous === null ? [] : [`gen-${previous}`])]
    expect(readdirSync(join(home('cancel'), 'envs', 'cancelled')).sort()).toEqual(kept.sort())
    expect(readdirSync(home('cancel')).filter((name) => name.startsWith('plan-'))).toEqual([])
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
  const filesOn = (disk: string): string[] =>
    readdirSync(disk, { recursive: true, withFileTypes: true }) // logs and whole pages in the cache are no leftovers
      .filter((entry) => entry.isFile() && !/jobs|pages/.test(entry.parentPath) && entry.name !== 'filler')
      .map(({ name }) => name)

  test.each(['planning', 'downloading', 'installing', 'switching'])('while %s: said so, and no file is left', async (phase) => {
    const disk = smallDisk(`disk-${phase}`, phase === 'downloading' ? 1 : 40)
    if (!disk) return void console.log('skipped: needs the right to mount a small file system')
    try {
      const pack = makePack('full', [phase === 'switching' ? 'waits==1.0' : 'ops==1.0'])
      const gate = join(folder, 'gate')
      writeFileSync(gate, '')
      const env = { COMFY_ENV_CACHE: phase === 'downloading' ? join(disk, 'cache') : join(folder, 'cache'), GATE: gate }
      if (phase === 'planning') fill(disk)
      if (phase === 'downloading') {
        const bytes = Buffer.concat([Buffer.from('PK\u0003\u0004'), Buffer.alloc(4_000_000)])
        index.fail('/files/ops-1.0', (response) => void response.writeHead(200, { 'content-length': bytes.length }).end(bytes))
      }
      const running = startComfyEnv(['install', '--pack', pack, '--home', phase === 'downloading' ? home('full') : disk, '--json'], { env: { ...settings(), ...env } })
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

test('eight installs at once into one environment all finish, in the order in which they came', async () => {
  const pack = makePack('crowd', ['ops==1.0'], ['plainly==1.0'])
  const ended: number[] = []
  const running: Promise<CliResult>[] = []
  for (let number = 0; number < 8; number++) {
    const one = install(pack, 'crowd')
    running.push(one.ended.then((result) => (ended.push(number), result)))
    // the order of asking is that of the tickets
    const turns = join(home('crowd'), 'jobs', 'crowd.turns')
    const hasTicket = (): boolean => existsSync(turns) && readdirSync(turns).some((ticket) => ticket.includes(`-${one.process.pid}-`))
    await until('its ticket', () => hasTicket() || ended.includes(number))
  }
  expect((await Promise.all(running)).map(({ code }) => code)).toEqual(Array(8).fill(0))
  expect(ended).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  expect(versionIn('crowd', 'crowd')).toBe('1.0 1.0')
  expect(existsSync(join(home('crowd'), 'jobs', 'crowd.turns'))).toBe(false)
})

describe('damage', () => {
  test('is found by doctor and mended by repair, without network', async () => {
    await succeeds(install(makePack('hurt', ['ops==1.0'], ['plainly==1.0']), 'repair'))
    const sound = contentOf('repair', 'hurt')
    const site = sites('repair', 'hurt', recordOf('repair', 'hurt').generation)
    rmSync(join(site, 'ops', 'part_7.py')) // another file, not other content: the old one may be shared with uv's cache
    writeFileSync(join(site, 'ops', 'part_7.py'), 'NUMBER = 8\n')
    rmSync(join(site, 'plainly', 'part_9.py'))
    const doctor = (): Promise<CliResult> => comfyEnv(['doctor', '--home', home('repair'), '--json'], { env: settings() })
    const found = await doctor()
    expect(found.code).toBe(1)
    expect(JSON.stringify(found.json)).toMatch(/ops\/part_7\.py has another content.*\(2 in all\)/)
    const repaired = await comfyEnv(['repair', 'hurt', '--home', home('repair'), '--offline', '--json'], { env: settings() })
    expect([repaired.code, repaired.stderr.split('\n').at(-2)]).toEqual([0, 'Done.'])
    expect(contentOf('repair', 'hurt')).toBe(sound)
    expect((await doctor()).code).toBe(0)
  })
})

test('a lock that is exported builds the same environment elsewhere', async () => {
  await succeeds(install(makePack('locked', ['ops==1.0'], ['plainly==1.0']), 'export'))
  const file = join(folder, 'pylock.toml')
  expect((await comfyEnv(['export', 'locked', file, '--home', home('export')])).code).toBe(0)
  expect(readFileSync(file, 'utf8')).toMatch(/name = "ops"[\s\S]*sha256/)
  const imported = await comfyEnv(['import', file, '--home', home('import'), '--json'], { env: { ...settings(), COMFY_ENV_SOURCES: '' } })
  expect([imported.code, imported.json]).toMatchObject([0, { env: 'locked', job: { status: 'done' } }])
  expect(contentOf('import', 'locked')).toBe(contentOf('export', 'locked'))
  writeFileSync(file, '[package]\n')
  const refused = await comfyEnv(['import', file, '--home', home('import'), '--json'])
  expect([refused.code, errorOf(refused).code]).toEqual([2, 'CONFIG_INVALID'])
})

describe('what uv and pip do otherwise', () => {
  test('a wheel whose METADATA lacks its label is installed, and not again by the same plan', async () => {
    const pack = makePack('switch', ['sw==1.0'])
    await succeeds(install(pack, 'switch'))
    const build = (): string => execFileSync(join(home('switch'), 'envs', 'switch', `gen-${recordOf('switch', 'switch').generation}`, 'bin', 'python'), ['-c', 'import sw; print(sw.BUILD)'], { encoding: 'utf8' }).trim()
    expect(build()).toBe('cputorch2.13')
    const again = await install(pack, 'switch', ['--dry-run']).ended
    expect((again.json as { plan: { add: unknown[]; change: unknown[] } }).plan).toMatchObject({ add: [], change: [] })
    await succeeds(install(pack, 'switch', [], { COMFY_ENV_TORCH: '2.12.0' }))
    expect(build()).toBe('cputorch2.12')
  })

  test('what has no wheel is not compiled', async () => {
    const page = join(index.folder, 'simple', 'only-source')
    mkdirSync(page)
    writeFileSync(join(page, 'index.html'), '<a href="../../files/only_source-1.0.tar.gz">only_source-1.0.tar.gz</a>')
    const result = await install(makePack('source', [], ['only-source==1.0']), 'source').ended
    expect([result.code, errorOf(result).code]).toEqual([1, 'UV_FAILED'])
    expect(index.asked).not.toContain('/files/only_source-1.0.tar.gz')
  })

  test('nothing moves ComfyUI’s torch: a requirement of it is refused, one of a dependency is left out', async () => {
    const own = await install(makePack('greedy', [], ['torch>=99']), 'torch').ended
    expect([own.code, errorOf(own).code]).toEqual([1, 'TORCH_PROTECTED'])
    const plan = await install(makePack('deep', [], ['wants_torch==1.0']), 'torch', ['--dry-run']).ended
    expect((plan.json as { plan: { add: { name: string }[]; torch_changes: boolean } }).plan).toMatchObject({ add: [{ name: 'wants-torch' }], torch_changes: false })
  })

  test('a pack’s own install script cannot move torch either, by pip or by uv', async () => {
    const script = `
import os, subprocess, sys
index = os.environ["TEST_INDEX"]
for tool in (["-m", "pip", "install", "--no-deps"], ["-m", "uv", "pip", "install", "--no-deps"]):
    code = subprocess.call([sys.executable, *tool, "--index-url", index, "torch==99.0"], stderr=subprocess.STDOUT)
    print("tried", tool[1], "->", "refused" if code else "INSTALLED")
print("prefix", sys.prefix)
`
    const before = readFileSync(join(PYTHON, '..', '..', 'pyvenv.cfg'), 'utf8')
    const wheels = await startWheelIndex(PYTHON, [{ name: 'torch', version: '99.0' }])
    try {
      const result = await install(makePack('scripted', ['ops==1.0'], [], { 'install.py': script }), 'script', [], { TEST_INDEX: wheels.simple }).ended
      expect([result.code, result.stderr]).toEqual([0, expect.any(String)])
      expect(result.stderr).toContain('tried pip -> refused')
      expect(result.stderr).not.toContain('INSTALLED')
      expect(result.stderr).toContain(join('envs', 'scripted'))
      expect(execFileSync(PYTHON, ['-c', 'import torch; print(torch.__version__)'], { encoding: 'utf8' })).toMatch(/^2\.13\.0/)
      expect(readFileSync(join(PYTHON, '..', '..', 'pyvenv.cfg'), 'utf8')).toBe(before)
    } finally {
      await wheels.close()
    }
  })
})

test('cleanup says what may go, and undo is what it costs', async () => {
  for (const version of ['1.0', '2.0']) await succeeds(install(makePack('tidy', [`ops==${version}`]), 'tidy'))
  const look = await comfyEnv(['cleanup', '--home', home('tidy'), '--json'], { env: settings() })
  expect(JSON.stringify(look.json)).toContain('the earlier state of tidy')
  const cache = join(folder, 'tidy-cache')
  expect((await comfyEnv(['cleanup', '--delete', '--home', home('tidy'), '--json'], { env: { COMFY_ENV_CACHE: cache } })).code).toBe(0)
  const { generation, previous } = recordOf('tidy', 'tidy')
  expect([previous, readdirSync(join(home('tidy'), 'envs', 'tidy')).sort()]).toEqual([null, ['env.json', `gen-${generation}`]])
  expect((await comfyEnv(['undo', 'tidy', '--home', home('tidy'), '--json'])).code).toBe(2)
})
