import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PYTHON } from '../../scripts/devPython.ts'
import { comfyEnv, type CliResult } from '../support/cli.ts'
import { errorOf, INSTALL_WHEELS, Installs, LOCAL, succeeds } from '../support/installs.ts'
import { AGAIN } from '../support/rounds.ts'
import { treeHash } from '../support/trees.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

let index: WheelIndex
let folder: string
let on: Installs

beforeAll(async () => {
  index = await startWheelIndex(PYTHON, [
    ...INSTALL_WHEELS,
    { name: 'sw', version: '1.0', ...LOCAL, plain_metadata: true },
    { name: 'sw', version: '1.0', ...LOCAL, local: 'cputorch2.12', plain_metadata: true },
    { name: 'wants_torch', version: '1.0', requires: ['torch>=99'] },
  ])
  folder = mkdtempSync(join(tmpdir(), 'envmanager-install-'))
  on = new Installs(folder, index)
})

afterAll(async () => {
  await index.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('undo', () => {
  test('comes back byte for byte, without network, and again', AGAIN, async () => {
    for (const version of ['1.0', '2.0']) await succeeds(on.start(on.pack('pack', [`ops==${version}`], [`plainly==${version}`]), 'undo'))
    const { generation, previous } = on.record('undo', 'pack')
    const whole = (number: number | null): string => treeHash(join(on.home('undo'), 'envs', 'pack', `gen-${number}`), true)
    const [now, before] = [whole(generation), whole(previous)]
    const undo = (): Promise<CliResult> => comfyEnv(['undo', 'pack', '--home', on.home('undo'), '--offline', '--json'])
    const started = Date.now()
    expect((await undo()).code).toBe(0)
    console.log(`undo: ${Date.now() - started} ms, the start of the command included`)
    expect(on.versions('undo', 'pack')).toBe('1.0 1.0')
    expect(whole(on.record('undo', 'pack').generation)).toBe(before)
    await undo()
    expect(whole(on.record('undo', 'pack').generation)).toBe(now)
  })
})

test('eight installs at once into one environment all finish, one after the other', async () => {
  const pack = on.pack('crowd', ['ops==1.0'], ['plainly==1.0'])
  const results = await Promise.all(Array.from({ length: 8 }, () => on.start(pack, 'crowd').ended))
  expect(results.map(({ code }) => code)).toEqual(Array(8).fill(0))
  expect(on.record('crowd', 'crowd')).toMatchObject({ generation: 8, previous: 7 })
  expect(on.versions('crowd', 'crowd')).toBe('1.0 1.0')
})

describe('damage', () => {
  test('is found by doctor and mended by repair, without network', async () => {
    await succeeds(on.start(on.pack('hurt', ['ops==1.0'], ['plainly==1.0']), 'repair'))
    const sound = on.content('repair', 'hurt')
    const site = on.site('repair', 'hurt')
    rmSync(join(site, 'ops', 'part_7.py')) // another file, not other content: the old one may be shared with uv's cache
    writeFileSync(join(site, 'ops', 'part_7.py'), 'NUMBER = 8\n')
    rmSync(join(site, 'plainly', 'part_9.py'))
    const doctor = (): Promise<CliResult> => comfyEnv(['doctor', '--home', on.home('repair'), '--json'], { env: on.settings })
    const found = await doctor()
    expect(found.code).toBe(1)
    expect(JSON.stringify(found.json)).toMatch(/ops\/part_7\.py has another content.*\(2 in all\)/)
    const repaired = await comfyEnv(['repair', 'hurt', '--home', on.home('repair'), '--offline', '--json'], { env: on.settings })
    expect([repaired.code, repaired.stderr.split('\n').at(-2)]).toEqual([0, 'Done.'])
    expect(on.content('repair', 'hurt')).toBe(sound)
    expect((await doctor()).code).toBe(0)
  })

  test('of a record that a backup put back costs no environment: it is shown broken, and repair builds its newest state again', async () => {
    for (const version of ['1.0', '2.0']) await succeeds(on.start(on.pack('backed', [`ops==${version}`], [`plainly==${version}`]), 'backup'))
    const run = (...args: string[]): Promise<CliResult> => comfyEnv([...args, '--home', on.home('backup')], { env: on.settings })
    writeFileSync(join(on.env('backup', 'backed'), 'env.json'), JSON.stringify({ ...on.record('backup', 'backed'), generation: 9, previous: 8 }))
    expect((await run('cleanup', '--delete')).code).toBe(0)
    expect(readdirSync(on.env('backup', 'backed'))).toEqual(expect.arrayContaining(['gen-1', 'gen-2']))
    expect((await run('envs')).stdout).toMatch(/^backed is broken: .*env\.json names gen-9, which is not there\. .*repair backed/)
    expect((await run('envs', '--json')).json).toMatchObject({ envs: [], broken: [{ id: 'backed', repairable: true }] })
    const { code, stderr } = await run('repair', 'backed')
    expect([code, code === 0 ? '' : stderr]).toEqual([0, ''])
    expect(on.versions('backup', 'backed')).toBe('2.0 2.0')
  })
})

test('a lock that is exported builds the same environment elsewhere', async () => {
  await succeeds(on.start(on.pack('locked', ['ops==1.0'], ['plainly==1.0']), 'export'))
  const file = join(folder, 'pylock.toml')
  expect((await comfyEnv(['export', 'locked', file, '--home', on.home('export')])).code).toBe(0)
  expect(readFileSync(file, 'utf8')).toMatch(/name = "ops"[\s\S]*sha256/)
  const imported = await comfyEnv(['import', file, '--home', on.home('import'), '--json'], { env: { ...on.settings, COMFY_ENV_SOURCES: '' } })
  expect([imported.code, imported.json]).toMatchObject([0, { env: 'locked', job: { status: 'done' } }])
  expect(on.content('import', 'locked')).toBe(on.content('export', 'locked'))
  writeFileSync(file, '[package]\n')
  const refused = await comfyEnv(['import', file, '--home', on.home('import'), '--json'])
  expect([refused.code, errorOf(refused).code]).toEqual([2, 'CONFIG_INVALID'])
})

describe('what uv and pip do otherwise', () => {
  test('a wheel whose METADATA lacks its label is installed, and not again by the same plan', async () => {
    const pack = on.pack('switch', ['sw==1.0'])
    await succeeds(on.start(pack, 'switch'))
    const build = (): string => execFileSync(on.python('switch', 'switch'), ['-c', 'import sw; print(sw.BUILD)'], { encoding: 'utf8' }).trim()
    expect(build()).toBe('cputorch2.13')
    const again = await on.start(pack, 'switch', ['--dry-run']).ended
    expect((again.json as { plan: { add: unknown[]; change: unknown[] } }).plan).toMatchObject({ add: [], change: [] })
    await succeeds(on.start(pack, 'switch', [], { COMFY_ENV_TORCH: '2.12.0' }))
    expect(build()).toBe('cputorch2.12')
  })

  test('what has no wheel is not compiled', async () => {
    const page = join(index.folder, 'simple', 'only-source')
    mkdirSync(page)
    writeFileSync(join(page, 'index.html'), '<a href="../../files/only_source-1.0.tar.gz">only_source-1.0.tar.gz</a>')
    const result = await on.start(on.pack('source', [], ['only-source==1.0']), 'source').ended
    expect([result.code, errorOf(result).code]).toEqual([1, 'UV_FAILED'])
    expect(index.asked).not.toContain('/files/only_source-1.0.tar.gz')
  })

  test('nothing moves ComfyUI’s torch: a requirement of it is refused, one of a dependency is left out', async () => {
    const own = await on.start(on.pack('greedy', [], ['torch>=99']), 'torch').ended
    expect([own.code, errorOf(own).code]).toEqual([1, 'TORCH_PROTECTED'])
    const plan = await on.start(on.pack('deep', [], ['wants_torch==1.0']), 'torch', ['--dry-run']).ended
    expect((plan.json as { plan: { add: { name: string }[]; torch_changes: boolean } }).plan).toMatchObject({ add: [{ name: 'wants-torch' }], torch_changes: false })
  })

  test('a pack’s own install script cannot move torch either, by pip or by uv', async () => {
    const script = `
import os, subprocess, sys
index = os.environ["TEST_INDEX"]
for tool in (["-m", "pip", "install", "--no-deps"], ["-m", "uv", "pip", "install", "--no-deps"]):
    done = subprocess.run([sys.executable, *tool, "--index-url", index, "torch==99.0"], capture_output=True, text=True)
    said = " ".join((done.stdout + done.stderr).split())
    print("tried", tool[1], "->", "refused" if done.returncode else "INSTALLED", "because", said)
print("prefix", sys.prefix)
`
    const before = readFileSync(join(PYTHON, '..', '..', 'pyvenv.cfg'), 'utf8')
    const wheels = await startWheelIndex(PYTHON, [{ name: 'torch', version: '99.0' }])
    try {
      const result = await on.start(on.pack('scripted', ['ops==1.0'], [], { 'install.py': script }), 'script', [], { TEST_INDEX: wheels.simple }).ended
      expect([result.code, result.stderr]).toEqual([0, expect.any(String)])
      expect(result.stderr).toMatch(/tried pip -> refused because .*torch==99\.0.*\(constraint\) torch==2\.13\.0/i)
      expect(result.stderr).toMatch(/tried uv -> refused because .*No solution found.*torch==2\.13\.0/i)
      expect(result.stderr).toContain(join('envs', 'scripted'))
      expect(execFileSync(PYTHON, ['-c', 'import torch; print(torch.__version__)'], { encoding: 'utf8' })).toMatch(/^2\.13\.0/)
      expect(readFileSync(join(PYTHON, '..', '..', 'pyvenv.cfg'), 'utf8')).toBe(before)
    } finally {
      await wheels.close()
    }
  })
})

test('what an install script or an import prints, however much and without an end of line, ends neither it nor us', async () => {
  const prints = `import os
for _ in range(150): os.write(1, b"x" * (1 << 20))
for _ in range(150): os.write(2, (b"y" * 1023 + b"\\n") * 1024)
`
  const fails = 'print("noise")\nraise RuntimeError("it lacks a library")\n'
  const index = await startWheelIndex(PYTHON, [{ name: 'loud', version: '1.0', ...LOCAL, code: prints }, { name: 'loudly_failing', version: '1.0', ...LOCAL, code: `${prints}${fails}` }])
  try {
    const pack = on.pack('loud', ['loud==1.0'], [], { 'install.py': `${prints}print("\\nsaid it all")\n` })
    const result = await on.start(pack, 'loud', [], { COMFY_ENV_SOURCES: index.simple, NODE_OPTIONS: '--max-old-space-size=100' }).ended
    expect([result.code, result.code === 0 ? '' : result.stderr.slice(-2000)]).toEqual([0, ''])
    expect(result.stderr).toContain('said it all')
    expect(result.stderr).toContain('bytes are left out')
    expect(result.stderr).not.toContain('install.py ended with')
    const failed = await on.start(on.pack('failing', ['loudly-failing==1.0']), 'loud', [], { COMFY_ENV_SOURCES: index.simple }).ended
    expect(errorOf(failed).message).toMatch(/cannot be imported: RuntimeError: it lacks a library\.$/)
  } finally {
    await index.close()
  }
})

test('cleanup says what may go, and undo is what it costs', async () => {
  for (const version of ['1.0', '2.0']) await succeeds(on.start(on.pack('tidy', [`ops==${version}`]), 'tidy'))
  const look = await comfyEnv(['cleanup', '--home', on.home('tidy'), '--json'], { env: on.settings })
  expect(JSON.stringify(look.json)).toContain('the earlier state of tidy')
  const cache = join(folder, 'tidy-cache')
  expect((await comfyEnv(['cleanup', '--delete', '--home', on.home('tidy'), '--json'], { env: { COMFY_ENV_CACHE: cache } })).code).toBe(0)
  expect([on.record('tidy', 'tidy').previous, readdirSync(on.env('tidy', 'tidy')).sort()]).toEqual([null, on.kept('tidy', 'tidy')])
  expect((await comfyEnv(['undo', 'tidy', '--home', on.home('tidy'), '--json'])).code).toBe(2)
})
