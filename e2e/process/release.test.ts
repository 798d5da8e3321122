/** The release as a user gets it: unpacked into custom_nodes, without Node on the machine, without anything of this folder. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FRONTENDS, PYTHON, ROOT } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { hostPython } from '../support/hostPython.ts'
import { PanelClient } from '../support/panelClient.ts'

let folder: string
let unpacked: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'envmanager-release-'))
  execFileSync(process.execPath, [join(ROOT, 'scripts', 'pack.ts')], { stdio: 'pipe' })
  const zip = readdirSync(join(ROOT, 'release')).find((name) => name.endsWith('.zip')) ?? ''
  execFileSync(PYTHON, ['-m', 'zipfile', '-e', join(ROOT, 'release', zip), folder])
  unpacked = join(folder, 'comfyui-envmanager')
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
  rmSync(join(ROOT, 'release'), { recursive: true, force: true })
})

test('nothing of development is in it', () => {
  expect(readdirSync(unpacked).sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', '__init__.py', 'bridge', 'docs', 'install.py', 'prestartup_script.py', 'pyproject.toml', 'python_shim', 'requirements.txt', 'web'])
  expect(existsSync(join(unpacked, 'python_shim', 'tests'))).toBe(false)
  expect(readdirSync(join(unpacked, 'web', 'dist'))).toEqual(['envmanager.js'])
})

test('pip install -r requirements.txt, start, and the bridge runs on the Node that came with it', async () => {
  const python = hostPython(folder)
  const uv = join(PYTHON, '..', 'uv')
  execFileSync(uv, ['pip', 'install', '--quiet', '--python', python, '-r', join(unpacked, 'requirements.txt')])
  expect(execFileSync(python, [join(unpacked, 'install.py')], { encoding: 'utf8' })).toBe('')
  // no folder with a Node is on the path
  const path = (process.env.PATH ?? '').split(delimiter).filter((entry) => !existsSync(join(entry, 'node')))
  let comfy: Comfy | null = null
  try {
    comfy = await startComfy({ frontend: FRONTENDS[0], packs: ['trouble-maker'], real: false, python, product: unpacked, env: { PATH: path.join(delimiter), COMFY_ENV_OFFLINE: 'on' } })
    const panel = await PanelClient.connect(comfy.url)
    const { host, packs } = await panel.until((snapshot) => snapshot.packs.some(({ state }) => state === 'ready'), 'the packs')
    expect(host.uv).toMatch(/^\d+\.\d+/)
    expect(packs.map(({ id }) => id)).toEqual(['trouble-maker'])
    const script = await (await fetch(`${comfy.url}/extensions/comfyui-envmanager/envmanager.js`)).text()
    expect(script.length).toBeGreaterThan(100_000)
    panel.close()
  } finally {
    await comfy?.stop()
    comfy?.remove()
  }
})
