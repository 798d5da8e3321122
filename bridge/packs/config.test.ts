import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readPackNeeds } from './config'

let folder: string
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'envmanager-config-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const write = (file: string, text: string): void => {
  mkdirSync(dirname(join(folder, file)), { recursive: true })
  writeFileSync(join(folder, file), text)
}

test('the first file name: requirements, wheels and sources', async () => {
  write('comfyui_env.toml', '[env]\npython = "3.11"\n[packages]\nrequirements = ["a"]\nno_deps = ["b==1"]\nrequirements_file = "more.txt"\n[sources]\nwheel_sources = ["https://github.com/o/r/releases/download/"]\n[variables]\nx = "1"')
  write('more.txt', 'c>=2  # why\n--index-url https://evil\n\n')
  expect(await readPackNeeds(folder, 'linux')).toMatchObject({
    file: 'comfyui_env.toml',
    python: ['a', 'c>=2'],
    cuda: ['b==1'],
    sources: ['https://github.com/o/r/releases/download/'],
    pythonVersion: '3.11',
    variables: { x: '1' },
    warnings: ['The option `--index-url https://evil` was passed over.'],
  })
})

test.each([
  ['[cuda]\nnvdiffrast = "0.4.0"\npytorch3d = "*"\n', ['nvdiffrast==0.4.0', 'pytorch3d']],
  ['[cuda]\npackages = ["a", "b==1"]\n', ['a', 'b==1']],
  ['cuda = ["a"]\n', ['a']],
  ['[packages]\nnvdiffrast = "0.4.0"\nrequirements = ["x"]\n', ['nvdiffrast==0.4.0']],
  ['packages = ["a==1"]\n', ['a==1']],
  ['[main]\npython = "3.11"\n[main.cuda]\nspconv = "*"\n', ['spconv']],
  ['[local.cuda]\ngsplat = "1.5.3"\n', ['gsplat==1.5.3']],
  ['python = "3.12"\n[cuda]\npackages = ["cumm"]\n', ['cumm']],
])('its later forms of CUDA packages: %j', async (text, cuda) => {
  write('comfy-env.toml', text)
  expect((await readPackNeeds(folder, 'linux')).cuda).toEqual(cuda)
})

test('an older file name wins over a newer one, and any config over requirements.txt', async () => {
  write('requirements.txt', 'plain')
  expect((await readPackNeeds(folder, 'linux')).python).toEqual(['plain'])
  write('comfy-env.toml', '[packages]\nrequirements = ["new"]')
  expect((await readPackNeeds(folder, 'linux')).python).toEqual(['new'])
  write('isolation.toml', '[packages]\nrequirements = ["old"]')
  expect((await readPackNeeds(folder, 'linux')).python).toEqual(['old'])
})

test('a byte order mark, CRLF and an empty file are no faults', async () => {
  write('comfyui_env.toml', '\uFEFF[packages]\r\nrequirements = ["a"]\r\n')
  expect((await readPackNeeds(folder, 'linux')).python).toEqual(['a'])
  write('comfyui_env.toml', '')
  expect((await readPackNeeds(folder, 'linux')).python).toEqual([])
})

test('an unknown section is a warning', async () => {
  write('comfyui_env.toml', '[pakages]\nx = 1\n')
  expect((await readPackNeeds(folder, 'linux')).warnings).toEqual([expect.stringMatching(/`pakages` is not known and was passed over; there are env, packages, /)])
})

test('a fault in the file is told with its place', async () => {
  write('comfyui_env.toml', '[env]\n\nname = "open\n')
  await expect(readPackNeeds(folder, 'linux')).rejects.toMatchObject({ code: 'CONFIG_SYNTAX', message: expect.stringMatching(/comfyui_env\.toml:3:\d+: /) })
})

test('a file that is too large is not read', async () => {
  write('comfyui_env.toml', `# ${'x'.repeat(70_000)}`)
  await expect(readPackNeeds(folder, 'linux')).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
})

const nested = (open: string, close: string, depth: number): string => `a = ${open.repeat(depth)}1${close.repeat(depth)}`
test.each([
  ['10,000 arrays in each other', nested('[', ']', 10_000)],
  ['10,000 tables in each other', nested('{b=', '}', 10_000)],
  ['a key set twice', 'a = 1\na = 2'],
  ['YAML anchors', 'a: &a ["x"]\nb: [*a, *a]'],
  ['an open text of 64 KB', `a = "${'x'.repeat(64_000)}`],
  ['bytes that are no UTF-8', Buffer.from([0x61, 0x20, 0x3d, 0x20, 0x22, 0xff, 0xfe, 0x22])],
])('61: %s: refused', async (_, content) => {
  writeFileSync(join(folder, 'comfyui_env.toml'), content)
  await expect(readPackNeeds(folder, 'linux')).rejects.toMatchObject({ code: 'CONFIG_SYNTAX' })
})

test.each([
  ['10,000 keys', Array.from({ length: 8000 }, (_, at) => `k${at}=1`).join('\n')],
  ['a key of 10,000 parts', `[${'a.'.repeat(10_000)}b]\nx = 1`],
  ['10,000 tables', '[[a]]\n'.repeat(10_000)],
  ['names of prototypes', '__proto__.polluted = 1\n[constructor.prototype]\npolluted = 2'],
])('61: %s: passed over with a warning, and nothing else is touched', async (_, text) => {
  write('comfyui_env.toml', text)
  expect((await readPackNeeds(folder, 'linux')).warnings.length).toBeGreaterThan(0)
  expect(({} as { polluted?: number }).polluted).toBeUndefined()
})

test('an unknown key in a known section is a warning with the keys that there are', async () => {
  write('comfyui_env.toml', '[env]\npyhton = "3.12"\n[packages]\nno_dep = ["a"]\n')
  expect((await readPackNeeds(folder, 'linux')).warnings).toEqual([
    expect.stringMatching(/`env\.pyhton` is not known and was passed over; there are name, python, /),
    expect.stringMatching(/`packages\.no_dep` is not known/),
  ])
})

test.each([
  ['[env]\nname = "x"\n  python = 3.12\n', ':3:3: env.python: must be quoted text'],
  ['[env]\npython = "three"\n', 'python: `three` is not a version such as "3.12"'],
  ['[packages]\nno_deps = "a"\n', ':1:1: packages: must be a list, or a table'],
  ['[env]\ncuda = "twelve"\n', 'cuda: `twelve` is not "auto", "none" or a version'],
  ['[variables]\nx = 1\n', ':2:1: variables.x: must be quoted text'],
])('a wrong value is told with its place: %j', async (text, message) => {
  write('comfyui_env.toml', text)
  await expect(readPackNeeds(folder, 'linux')).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining(message) })
})

test('what the environment is to be', async () => {
  write('comfyui_env.toml', '[env]\npython = "3.12"\npytorch_version = "2.8.0"\ncuda = "12.8"\n')
  expect(await readPackNeeds(folder, 'linux')).toMatchObject({ pythonVersion: '3.12', torchVersion: '2.8.0', cudaVersion: '12.8' })
  write('comfyui_env.toml', '[env]\npytorch = "auto"\ncuda = "null"\n')
  expect(await readPackNeeds(folder, 'linux')).toMatchObject({ pythonVersion: null, torchVersion: null, cudaVersion: null })
})

test('named environments: the first is used, its lists for this system, and conda is refused in words', async () => {
  write('comfy-env.toml', '[one]\npython = "3.11"\n[one.packages]\nrequirements = ["a"]\nwindows = ["w"]\nlinux = ["l"]\n[one.conda]\npackages = ["ffmpeg"]\n[two]\npython = "3.12"\n[system]\nlinux = ["libgl1"]\n[node_reqs]\nOther = "o/r"\n')
  const needs = await readPackNeeds(folder, 'linux')
  expect(needs).toMatchObject({ python: ['a', 'l'], pythonVersion: '3.11' })
  expect(needs.warnings.join(' ')).toMatch(/conda packages.*ffmpeg.*only `one` is used, not two.*system packages.*libgl1.*other node packs: Other/)
})

test('comfy-env 0.4: its files below nodes/, and what uv cannot serve', async () => {
  write('requirements.txt', 'plain\ncomfy-env==0.4.22\n')
  write('comfy-env-root.toml', '[node_packs]\nOther = "o/r"\n')
  write('nodes/comfy-env.toml', 'python = "3.12"\n[cuda]\npackages = ["nvdiffrast"]\n[env_vars]\nA = "1"\n[pypi-dependencies]\nnumpy = ">=2"\ntrimesh = "*"\nx = { git = "https://h/r" }\n[dependencies]\nffmpeg = "*"\npython = "3.11.*"\n[target.linux-64.pypi-dependencies]\nonly-linux = "1.0"\n[target.win-64.pypi-dependencies]\nonly-windows = "1.0"\n')
  const needs = await readPackNeeds(folder, 'linux')
  expect(needs).toMatchObject({
    file: 'nodes/comfy-env.toml',
    python: ['numpy>=2', 'trimesh', 'only-linux==1.0', 'plain'],
    cuda: ['nvdiffrast'],
    pythonVersion: '3.12',
    environment: { A: '1' },
  })
  expect(needs.warnings.join(' ')).toMatch(/other node packs: Other.*`x` comes from a git address.*conda packages.*ffmpeg/)
})
