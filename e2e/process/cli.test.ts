import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Resolution } from '../../schemas/wheel.ts'
import { PYTHON, ROOT } from '../../scripts/devPython.ts'
import { SHARED_CACHE } from '../support/cache.ts'
import { comfyEnv, type CliResult, startComfyEnv } from '../support/cli.ts'
import { MARK } from '../support/installs.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

let index: WheelIndex
let folder: string
const windows = ['--cuda', '12.8', '--python', '3.12', '--platform', 'win_amd64']

beforeAll(async () => {
  index = await startWheelIndex(PYTHON)
  folder = mkdtempSync(join(tmpdir(), 'envmanager-cli-'))
})

afterAll(async () => {
  await index.close()
  rmSync(folder, { recursive: true, force: true })
})

const home = (name: string): string => join(folder, name)

/** A node pack with this config. */
function makePack(name: string, config: string, file = 'comfyui_env.toml'): string {
  const pack = join(folder, 'packs', name)
  mkdirSync(pack, { recursive: true })
  writeFileSync(join(pack, '__init__.py'), 'NODE_CLASS_MAPPINGS = {}\n')
  writeFileSync(join(pack, file), config)
  return pack
}

const errorOf = ({ json }: CliResult): { code: string; message: string; hint: string; details: Record<string, unknown> } =>
  (json as { error: ReturnType<typeof errorOf> }).error

describe('resolve', () => {
  const resolve = (torch: string): Promise<CliResult> =>
    comfyEnv(['resolve', 'nvdiffrast==0.4.0', '--torch', torch, ...windows, '--source', index.simple, '--json'])

  test('finds the wheel that fits', async () => {
    const { code, json } = await resolve('2.8.0')
    expect(code).toBe(0)
    const [result] = (json as { results: Resolution[] }).results
    expect(result).toMatchObject({ status: 'found', version: '0.4.0', filename: 'nvdiffrast-0.4.0+cu128torch2.8-cp312-cp312-win_amd64.whl' })
    expect(result?.url).toBe(`http://${index.host}/files/nvdiffrast-0.4.0%2Bcu128torch2.8-cp312-cp312-win_amd64.whl`)
    expect(result?.sha256).toMatch(/^[0-9a-f]{64}$/)
  })

  test('none fits: exit 3, what exists, why each was refused, and the nearest', async () => {
    const { code, json } = await resolve('2.9.0')
    expect(code).toBe(3)
    const [result] = (json as { results: Resolution[] }).results
    expect(result?.status).toBe('none')
    expect(result?.url).toBeNull()
    expect(result?.available).toContainEqual({ python: '3.12', torch: '2.8', cuda: '12.8', platform: 'win_amd64', version: '0.4.0' })
    const refused = result?.rejected.find(({ filename }) => filename.includes('cu128torch2.8-cp312-cp312-win_amd64'))
    expect(refused?.reasons).toEqual(['TORCH_MINOR'])
    expect(result?.nearest[0]).toMatchObject({ change: { torch: '2.8' }, filename: 'nvdiffrast-0.4.0+cu128torch2.8-cp312-cp312-win_amd64.whl' })
  })

  test.each([
    ['an unknown variable', 'http://127.0.0.1/{frobnicate}/x-{version}-py3-none-any.whl', 'frobnicate'],
    ['a variable without a value', 'http://127.0.0.1/{cuda_short}/x-{version}-py3-none-any.whl', 'cuda_short'],
  ])('%s in a template is an error and never an address', async (_, source, variable) => {
    for (const verify of [[], ['--no-verify']]) {
      const { code, stdout, json } = await comfyEnv(['resolve', 'x==1.0', '--torch', '2.8.0', '--cuda', 'none', '--source', source, '--json', ...verify])
      expect(code).toBe(1)
      const [result] = (json as { results: Resolution[] }).results
      expect(result).toMatchObject({ status: 'error', url: null })
      expect(result?.error).toContain(`{${variable}}`)
      expect(stdout).not.toMatch(/"(url|filename)":"[^"]*\{/)
    }
  })

  test('a template that is taken on trust is filled with the plain platform, as the Python library does', async () => {
    const source = 'http://127.0.0.1:1/{package_us}-{version}+cu{cuda_short}torch{torch_mm}-cp{py_short}-cp{py_short}-{platform}.whl'
    const linux = ['--python', '3.11', '--torch', '2.8.0', '--cuda', '12.8', '--platform', 'linux_x86_64']
    const { json } = await comfyEnv(['resolve', 'ff==1.0', ...linux, '--source', source, '--json', '--no-verify'])
    expect((json as { results: Resolution[] }).results[0]?.url).toBe('http://127.0.0.1:1/ff-1.0%2Bcu128torch28-cp311-cp311-linux_x86_64.whl')
  })

  test('a template that fits nothing is checked, not guessed', async () => {
    const source = `http://${index.host}/files/{package_us}-{version}+cu{cuda_short}torch{torch_mm_dot}-{py_tag}-{abi_tag}-{platform}.whl`
    const args = (torch: string): string[] => ['resolve', 'nvdiffrast==0.4.0', '--torch', torch, ...windows, '--source', source, '--json']
    const found = await comfyEnv(args('2.8.0'))
    expect((found.json as { results: Resolution[] }).results[0]?.url).toContain('cu128torch2.8-cp312-cp312-win_amd64.whl')
    const none = await comfyEnv(args('2.9.0'))
    expect(none.code).toBe(3)
    expect((none.json as { results: Resolution[] }).results[0]?.rejected[0]?.reasons).toContain('NOT_FOUND')
  })

  test('a source that is down is an error, not “no wheel”', async () => {
    index.fail('/simple/limited', (response) => void response.writeHead(429).end())
    const { code, json } = await comfyEnv(['resolve', 'limited', '--source', index.simple, '--json'])
    expect(code).toBe(1)
    expect((json as { results: Resolution[] }).results[0]?.error).toMatch(/asks to slow down \(HTTP 429\)/)
  })
})

describe('bad input gets one sentence, the right exit code, and loses nothing', () => {
  test('broken TOML: file, line and column', async () => {
    const pack = makePack('broken-toml', '[env]\nname = "x"\npython = 3.10.1\n')
    const { code, stderr } = await comfyEnv(['install', '--pack', pack, '--home', home('toml')])
    expect(code).toBe(2)
    expect(stderr).toMatch(/broken-toml\/comfyui_env\.toml:3:\d+: /)
  })

  test('a wrong type in the config names the key', async () => {
    const pack = makePack('wrong-type', '[env]\npython = 3.10\n')
    const result = await comfyEnv(['install', '--pack', pack, '--home', home('toml'), '--json'])
    expect(result.code).toBe(2)
    expect(errorOf(result)).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('env.python: must be quoted text') })
  })

  test('an unknown pack', async () => {
    const result = await comfyEnv(['install', '--pack', join(folder, 'nowhere'), '--json'])
    expect([result.code, errorOf(result).code]).toEqual([2, 'UNKNOWN_PACK'])
  })

  test.each([['--index-url=http://evil.example/simple'], ['-r /etc/passwd'], ['numpy @ http://127.0.0.1/x.whl'], ['$(id)'], ['a\nb']])(
    'the requirement %j is refused',
    async (line) => {
      const pack = makePack('injection', `[packages]\nrequirements = [${JSON.stringify(line)}]\n`)
      const result = await comfyEnv(['install', '--pack', pack, '--home', home('injection'), '--json'])
      expect([result.code, errorOf(result).code]).toEqual([2, 'BAD_REQUIREMENT'])
    },
  )

  test('a host that nobody knows is not asked', async () => {
    const pack = makePack('evil', `[packages]\nno_deps = ["tinyops"]\n[sources]\nwheel_sources = ["http://${index.host}/simple/"]\n`)
    const refused = await comfyEnv(['install', '--pack', pack, '--home', home('evil'), '--dry-run', '--json'])
    expect([refused.code, errorOf(refused).code]).toEqual([1, 'HOST_NOT_ALLOWED'])
    const allowed = await comfyEnv(['install', '--pack', pack, '--home', home('evil'), '--dry-run', '--json'], { env: { COMFY_ENV_ALLOW_HOSTS: index.host } })
    expect(allowed.code).toBe(0)
  })

  test('a wheel that is a web page: nothing is installed', async () => {
    index.fail('/files/brokenops', (response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<!DOCTYPE html><html>gone</html>'))
    const pack = makePack('page', '[packages]\nno_deps = ["brokenops==1.0"]\n')
    const result = await comfyEnv(['install', '--pack', pack, '--home', home('page'), '--json'], { env: { COMFY_ENV_SOURCES: index.simple } })
    expect([result.code, errorOf(result).code]).toEqual([1, 'NOT_A_WHEEL'])
    expect(errorOf(result).message).toMatch(/is a web page, not the wheel brokenops-1\.0/)
    expect(readdirSync(home('page'))).not.toContain('envs')
  })

  test('a taken port', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await new Promise((done) => taken.once('listening', done))
    const { port } = taken.address() as { port: number }
    const result = await comfyEnv(['serve', '--parent', '--port', String(port), '--home', home('port'), '--json'])
    taken.close()
    expect([result.code, errorOf(result).code]).toEqual([1, 'PORT_TAKEN'])
    expect(errorOf(result).message).toBe(`Port ${port} is taken by another program.`)
  })

  test('a full disk: the env is not there, nothing is left, the bytes come back', async (context) => {
    const disk = join(folder, 'disk')
    mkdirSync(disk)
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', disk], { stdio: 'ignore' })
    } catch {
      context.skip('needs the right to mount a small file system')
    }
    try {
      const pack = join(ROOT, 'e2e', 'packs', 'modern-grain')
      const result = await comfyEnv(['install', '--pack', pack, '--home', disk, '--json'], { env: { COMFY_ENV_CACHE: SHARED_CACHE } })
      expect([result.code, errorOf(result).code]).toEqual([1, 'DISK_FULL'])
      const left = readdirSync(disk, { recursive: true, encoding: 'utf8' }).filter((name) => !/^(jobs|locks)/.test(name))
      expect(left.sort()).toEqual([MARK, 'envs'])
    } finally {
      execFileSync('umount', [disk])
    }
  })

  test.each([[['frob']], [['info', '--nonsense']], [['resolve']], [['info', '--torch', 'new']], [['info', '--platform', 'amiga']], [['serve', '--port', 'x', '--parent']], [['install', '/some/pack']], [['undo', 'a', 'b']], [['cleanup', 'x']]])(
    'bad usage %j',
    async (args) => {
      const { code, stderr, stdout } = await comfyEnv([...args, '--home', home('usage')])
      expect(code).toBe(2)
      expect(stdout).toBe('')
      expect(stderr.split('\n')[0]).toMatch(/\.$/)
    },
  )
})

describe('install', () => {
  const source = () => ({ COMFY_ENV_SOURCES: index.simple, COMFY_ENV_CACHE: SHARED_CACHE })
  const install = (name: string, ...args: string[]): Promise<CliResult> =>
    comfyEnv(['install', '--pack', join(ROOT, 'e2e', 'packs', 'vintage-tone'), '--home', home(name), '--json', ...args], { env: source() })

  test('--dry-run says what would be done and does nothing', async () => {
    const { code, json } = await install('dry', '--dry-run')
    expect(code).toBe(0)
    expect(json).toMatchObject({ plan: { env: 'vintage-tone', kind: 'overlay', torch_changes: false, remove: [], change: [] } })
    const names = (json as { plan: { add: { name: string }[] } }).plan.add.map(({ name }) => name)
    expect(names.toSorted()).toEqual(['numpy', 'tinyops'])
    expect(readdirSync(home('dry'))).not.toContain('envs')
  })

  test('installs into an overlay: own packages first, ComfyUI’s torch behind', async () => {
    const { code, json } = await install('real')
    expect(code).toBe(0)
    expect(json).toMatchObject({ job: { status: 'done' } })
    const python = join(home('real'), 'envs', 'vintage-tone', 'gen-1', 'bin', 'python')
    const said = execFileSync(python, ['-c', 'import numpy, torch, tinyops; print(numpy.__version__, torch.__version__, torch.__file__)'], { encoding: 'utf8' })
    expect(said).toMatch(/^(1\.26\.4|2\.1\.3) 2\.13\.0/)
    expect(said).toContain(join('.venv', 'lib'))
    const { log } = (json as { job: { log: string } }).job
    const lines = readFileSync(log, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as { seq: number; text: string })
    expect(lines.map(({ seq }) => seq)).toEqual(lines.map((_, at) => at + 1))
    expect(lines.at(-1)?.text).toBe('Done.')
  })

  test('a package that cannot be imported is not switched to; what was there stays', async () => {
    const pack = makePack('vintage-tone', '[packages]\nno_deps = ["brokenops==1.0"]\n')
    const local = mkdtempSync(join(folder, 'wheels-'))
    cpSync(join(index.folder, 'files'), local, { recursive: true })
    const before = readFileSync(join(home('real'), 'envs', 'vintage-tone', 'env.json'), 'utf8')
    const result = await comfyEnv(['install', '--pack', pack, '--home', home('real'), '--json'], { env: { COMFY_ENV_SOURCES: local } })
    expect([result.code, errorOf(result).code]).toEqual([1, 'VERIFY_FAILED'])
    expect(errorOf(result).message).toContain('module_that_is_nowhere')
    expect(readFileSync(join(home('real'), 'envs', 'vintage-tone', 'env.json'), 'utf8')).toBe(before)
    expect(readdirSync(join(home('real'), 'envs', 'vintage-tone')).toSorted()).toEqual([MARK, 'env.json', 'gen-1'])
  })

  test('envs lists it, doctor checks it, and finds a file that was changed', async () => {
    const envs = await comfyEnv(['envs', '--home', home('real'), '--json'])
    expect(envs.json).toMatchObject({ envs: [{ id: 'vintage-tone', kind: 'overlay', bytes: expect.any(Number) }] })
    const doctor = (): Promise<CliResult> => comfyEnv(['doctor', '--home', home('real'), '--json'])
    expect((await doctor()).json).toMatchObject({ checks: expect.arrayContaining([expect.objectContaining({ id: 'env:vintage-tone', status: 'ok' })]) })
    const site = execFileSync(join(home('real'), 'envs', 'vintage-tone', 'gen-1', 'bin', 'python'), ['-c', 'import tinyops; print(tinyops.__file__)'], { encoding: 'utf8' }).trim()
    rmSync(site) // another file, not other content: the old one may be shared with uv's cache
    writeFileSync(site, 'changed = True\n')
    const { code, json } = await doctor()
    expect(code).toBe(1)
    expect(json).toMatchObject({ checks: expect.arrayContaining([expect.objectContaining({ id: 'env:vintage-tone', status: 'fail', message: expect.stringContaining('tinyops/__init__.py has another content') })]) })
  })
})

test('info and why speak the contract’s JSON', async () => {
  const info = await comfyEnv(['info', '--json'])
  expect(info.json).toMatchObject({ fingerprint: { python: { tag: expect.stringMatching(/^cp3/) }, torch: { version: '2.13.0', cuda: null } }, variables: { torch_mm: '213' } })
  const why = await comfyEnv(['why', '-', '--torch', '2.8.0', ...windows], { input: 'a-1.0+cu128torch2.8-cp312-cp312-win_amd64.whl\nb-1.0+cu130torch2.8-cp312-cp312-win_amd64.whl\n' })
  const lines = why.stdout.trim().split('\n').map((line) => JSON.parse(line) as { compatible: boolean; reasons: string[] })
  expect(lines).toMatchObject([{ compatible: true, reasons: [] }, { compatible: false, reasons: ['CUDA_MAJOR'] }])
})

test('packs of a ComfyUI, with their states', async () => {
  const comfyui = join(folder, 'comfyui')
  cpSync(join(ROOT, 'e2e', 'packs'), join(comfyui, 'custom_nodes'), { recursive: true })
  const { json } = await comfyEnv(['packs', '--comfyui', comfyui, '--home', home('states'), '--json'], { env: { COMFY_ENV_SOURCES: index.simple } })
  const states = Object.fromEntries((json as { packs: { id: string; state: string }[] }).packs.map(({ id, state }) => [id, state]))
  const plain = Object.fromEntries(['changing-pack', 'newer-nodes', 'result-keeper', 'handle-maker', 'inherited-nodes', 'core-name', 'fault-maker', 'parity-probe', 'sequence-nodes', 'trouble-maker', 'value-carrier', 'value-host'].map((id) => [id, 'ready']))
  expect(states).toEqual({ ...plain, 'modern-grain': 'conflict', 'no-wheel-here': 'no_wheel', 'vintage-tone': 'conflict' })
})

test('init writes a config that is read again, and never over one that is there', async () => {
  const pack = makePack('fresh', '', 'notes.txt')
  const first = await comfyEnv(['init', pack, '--json'])
  expect([first.code, first.json]).toEqual([0, { file: join(pack, 'comfyui_env.toml') }])
  const install = await comfyEnv(['install', '--pack', pack, '--home', home('init'), '--json'])
  expect(errorOf(install).message).toBe('fresh asks for no packages: there is nothing to install.')
  const before = readFileSync(join(pack, 'comfyui_env.toml'), 'utf8')
  expect((await comfyEnv(['init', pack])).code).toBe(2)
  expect(readFileSync(join(pack, 'comfyui_env.toml'), 'utf8')).toBe(before)
})

test('settings.toml is read, an unknown key in it is said with its line and the right ones, and a wrong value ends the command', async () => {
  mkdirSync(home('settings'), { recursive: true })
  writeFileSync(join(home('settings'), 'settings.toml'), `sources = ["${index.simple}"]\noffline = true\n`)
  const args = ['resolve', 'nvdiffrast==0.4.0', '--torch', '2.8.0', ...windows, '--home', home('settings'), '--json']
  expect((await comfyEnv(args)).json).toMatchObject({ results: [{ status: 'error', error: expect.stringContaining('offline mode is on') }] })
  writeFileSync(join(home('settings'), 'settings.toml'), `sources = ["${index.simple}"]\n`)
  expect((await comfyEnv(args)).json).toMatchObject({ results: [{ status: 'found' }] })
  writeFileSync(join(home('settings'), 'settings.toml'), `ofline = true\nsources = ["${index.simple}"]\n`)
  const unknown = await comfyEnv(args)
  expect(unknown.json).toMatchObject({ results: [{ status: 'found' }] })
  expect(unknown.stderr).toMatch(/settings\.toml:1: there is no setting `ofline`.*offline, proxy/)
  writeFileSync(join(home('settings'), 'settings.toml'), '\noffline = "yes"\n')
  const wrong = await comfyEnv(args)
  expect([wrong.code, errorOf(wrong).code, errorOf(wrong).hint]).toEqual([2, 'CONFIG_INVALID', expect.stringContaining('offline, proxy')])
  expect(errorOf(wrong).message).toContain('settings.toml:2:1: offline')
})

test('doctor says when a driver or a GPU does not go with torch', async () => {
  const { code, json } = await comfyEnv(['doctor', '--torch', '2.9.1', '--cuda', '13.0', '--driver', '566.36', '--gpu', 'sm_61', '--home', home('doctor'), '--json'])
  expect(code).toBe(1)
  const failed = (json as { checks: { id: string; status: string; message: string }[] }).checks.filter(({ status }) => status === 'fail')
  expect(failed.map(({ id, message }) => `${id}: ${message}`)).toEqual(['driver: 566.36 is too old for CUDA 13.0', 'gpu: torch 2.9.1 for CUDA 13.0 has no code for sm_61 (6.1)'])
})

describe('whoever reads what a command writes may stop', () => {
  test.each([
    ['its answer', 'stdout', ['--help'], 0],
    ['its notes', 'stderr', ['frob'], 2],
  ] as const)('%s: it ends as it would have, and says nothing of it', async (_, pipe, args, code) => {
    const running = startComfyEnv([...args])
    running.process[pipe]?.destroy()
    expect(await running.ended).toMatchObject({ code, stdout: '', stderr: '' })
  })
})

test('a folder that was deleted under a command is said', async () => {
  const gone = join(folder, 'gone')
  mkdirSync(gone)
  const bridge = join(ROOT, 'bridge', 'dist', 'comfy-env.mjs')
  const said = spawnSync('sh', ['-c', 'rmdir "$PWD"; exec "$0" "$@"', process.execPath, bridge, 'init'], { cwd: gone, encoding: 'utf8' })
  expect([said.status, said.stderr]).toEqual([2, 'comfy-env: the current folder is no longer there.\n\nhint: Change into another one, then try again.\n'])
})

test('logs bridge: what is no entry, such as the half of one, is left out for a program and shown to people', async () => {
  mkdirSync(join(home('journal'), 'logs'), { recursive: true })
  const entry = { time: '2026-01-01T00:00:00.000Z', event: 'start' }
  writeFileSync(join(home('journal'), 'logs', 'bridge.ndjson'), `${JSON.stringify(entry)}\n{"time":"2026-0\n${JSON.stringify(entry)}\n{"ti`)
  const program = await comfyEnv(['logs', 'bridge', '--home', home('journal'), '--json'])
  expect([program.code, program.json]).toEqual([0, { entries: [entry, entry] }])
  const people = await comfyEnv(['logs', 'bridge', '--home', home('journal')])
  expect([people.code, people.stdout.trim().split('\n').at(-1)]).toEqual([0, '{"ti'])
})
