import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readPackNeeds } from './config'

let folder: string
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'envmanager-config-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const write = (file: string, text: string): void => writeFileSync(join(folder, file), text)

test('the first file name: requirements, wheels and sources', async () => {
  write('comfyui_env.toml', '[env]\npython = "3.11"\n[packages]\nrequirements = ["a"]\nno_deps = ["b==1"]\nrequirements_file = "more.txt"\n[sources]\nwheel_sources = ["https://github.com/o/r/releases/download/"]\n[variables]\nx = "1"')
  write('more.txt', 'c>=2  # why\n--index-url https://evil\n\n')
  expect(await readPackNeeds(folder)).toMatchObject({
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
])('its later forms of CUDA packages: %j', async (text, cuda) => {
  write('comfy-env.toml', text)
  expect((await readPackNeeds(folder)).cuda).toEqual(cuda)
})

test('an older file name wins over a newer one, and any config over requirements.txt', async () => {
  write('requirements.txt', 'plain')
  expect((await readPackNeeds(folder)).python).toEqual(['plain'])
  write('comfy-env.toml', '[packages]\nrequirements = ["new"]')
  expect((await readPackNeeds(folder)).python).toEqual(['new'])
  write('isolation.toml', '[packages]\nrequirements = ["old"]')
  expect((await readPackNeeds(folder)).python).toEqual(['old'])
})

test('a byte order mark, CRLF and an empty file are no faults', async () => {
  write('comfyui_env.toml', '\uFEFF[packages]\r\nrequirements = ["a"]\r\n')
  expect((await readPackNeeds(folder)).python).toEqual(['a'])
  write('comfyui_env.toml', '')
  expect((await readPackNeeds(folder)).python).toEqual([])
})

test('an unknown section is a warning', async () => {
  write('comfyui_env.toml', '[pakages]\nx = 1\n')
  expect((await readPackNeeds(folder)).warnings).toEqual(['comfyui_env.toml: the section `pakages` is not known and was passed over.'])
})

test('a fault in the file is told with its place', async () => {
  write('comfyui_env.toml', '[env]\n\nname = "open\n')
  await expect(readPackNeeds(folder)).rejects.toMatchObject({ code: 'CONFIG_SYNTAX', message: expect.stringMatching(/comfyui_env\.toml:3:\d+: /) })
})

test('a file that is too large is not read', async () => {
  write('comfyui_env.toml', `# ${'x'.repeat(70_000)}`)
  await expect(readPackNeeds(folder)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
})
