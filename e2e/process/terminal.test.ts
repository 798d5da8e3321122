import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isSuspect } from '../../schemas/shownText.ts'
import { PYTHON } from '../../scripts/devPython.ts'
import { type CliResult, comfyEnv } from '../support/cli.ts'
import { LOCAL } from '../support/installs.ts'
import { startWheelIndex, type WheelIndex } from '../support/wheelIndex.ts'

/** A title, the clipboard, a cleared screen, colours, C1, and text that is turned around. */
const EVIL = '\u001b]0;OWNED\u0007\u001b]52;c;ZXZpbA==\u0007\u001b[2J\u001b[1;32mgood\u001b[0m\u009b2J\u202e\u200b'

let index: WheelIndex
let folder: string

beforeAll(async () => {
  index = await startWheelIndex(PYTHON, [{ name: 'ops', version: '1.0', ...LOCAL }])
  folder = mkdtempSync(join(tmpdir(), 'envmanager-terminal-'))
  writeFileSync(join(folder, 'main.py'), '')
  pack('odd', `${EVIL}\n`)
  pack('prints', '', { 'install.py': `print(${JSON.stringify(EVIL)} + "said\\x1b[1A\\x1b[2K\\rreal")\n`, 'comfyui_env.toml': '[packages]\nno_deps = ["ops==1.0"]\n' })
})

afterAll(async () => {
  await index.close()
  rmSync(folder, { recursive: true, force: true })
})

function pack(name: string, requirements: string, files: Record<string, string> = {}): void {
  const dir = join(folder, 'custom_nodes', name)
  mkdirSync(dir, { recursive: true })
  for (const [file, text] of Object.entries({ '__init__.py': 'NODE_CLASS_MAPPINGS = {}\n', 'requirements.txt': requirements, ...files })) writeFileSync(join(dir, file), text)
}

function run(args: string[]): Promise<CliResult> {
  const env = { COMFY_ENV_SOURCES: index.simple, COMFY_ENV_INDEX: index.simple, COMFY_ENV_CACHE: join(folder, 'cache') }
  return comfyEnv([...args, '--home', join(folder, 'home'), '--comfyui', folder], { env })
}

test('an install script’s words come to the terminal, and to the log, as text', { timeout: 120_000 }, async () => {
  const { code, stdout, stderr } = await run(['install', '--pack', join(folder, 'custom_nodes', 'prints')])
  expect([code, stderr]).toEqual([0, expect.stringContaining('said')])
  const [job = ''] = (await run(['logs'])).stdout.trim().split('\n')
  const log = await run(['logs', job])
  expect(log.stdout).toContain('said')
  expect([stdout, stderr, log.stdout, log.stderr].filter(isSuspect)).toEqual([])
})

test.each([
  ['packs'],
  ['envs'],
  ['doctor'],
  ['snapshots'],
  ['logs', `job-${EVIL}`],
  ['why', `ops${EVIL}-1.0-py3-none-any.whl`],
  ['resolve', `ops${EVIL}==1`],
  ['undo', EVIL],
  ['restore', EVIL],
  ['import', join('/nowhere', EVIL)],
  ['install', '--pack', join('/nowhere', EVIL)],
  ['install', '--pack', 'odd'],
  [EVIL],
  ['packs', `--${EVIL}`],
])('command %# prints text only, and JSON that says the same', async (...args) => {
  const at = args.map((one) => (one === 'odd' ? join(folder, 'custom_nodes', 'odd') : one))
  const [human, json] = await Promise.all([run(at), run([...at, '--json'])])
  expect(human.stdout + human.stderr).not.toBe('')
  expect([human.stdout, human.stderr, json.stdout, json.stderr].filter(isSuspect)).toEqual([])
  expect(json.json).not.toBeNull()
})
