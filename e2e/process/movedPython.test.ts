import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { PYTHON } from '../../scripts/devPython.ts'
import { BareBridge } from '../support/bareBridge.ts'
import { comfyEnv } from '../support/cli.ts'
import { Installs, succeeds } from '../support/installs.ts'
import { UV } from '../support/ownHost.ts'
import { startWheelIndex } from '../support/wheelIndex.ts'

let on: Installs

beforeAll(async () => {
  on = new Installs(mkdtempSync(join(tmpdir(), 'envmanager-moved-')), await startWheelIndex(PYTHON, [{ name: 'plainly', version: '1.0' }]))
})

afterAll(async () => {
  await on.index.close()
  rmSync(on.folder, { recursive: true, force: true })
})

const settings = (): Record<string, string> => ({ ...on.settings, COMFY_ENV_UV: UV })
const pythonOf = (name: string): string => join(on.folder, name, 'bin', 'python')
/** What a command says of the pack's environment, as the ComfyUI whose Python is named. */
async function said(python: string): Promise<unknown> {
  const { json } = await comfyEnv(['doctor', '--home', on.home('home'), '--interpreter', python, '--json'], { env: settings() })
  return (json as { checks: { id: string }[] }).checks.find(({ id }) => id === 'env:needy')
}

test('an environment whose ComfyUI has another Python now, or none there any more, says so, and repair builds it for this one', async () => {
  for (const name of ['first', 'second']) execFileSync(PYTHON, ['-m', 'venv', '--without-pip', join(on.folder, name)])
  const comfyui = join(on.folder, 'comfy')
  mkdirSync(comfyui)
  writeFileSync(join(comfyui, 'main.py'), '')
  cpSync(on.pack('needy', [], ['plainly==1.0']), join(comfyui, 'custom_nodes', 'needy'), { recursive: true })
  await succeeds(on.start(join(comfyui, 'custom_nodes', 'needy'), 'home', ['--interpreter', pythonOf('first')], settings()))
  expect(await said(pythonOf('first'))).toMatchObject({ status: 'ok' })
  expect(await said(pythonOf('second'))).toMatchObject({ status: 'warn', message: expect.stringContaining('another ComfyUI') as string, fix: 'comfy-env repair needy' })

  renameSync(join(on.folder, 'first'), join(on.folder, 'third'))
  expect(await said(pythonOf('third'))).toMatchObject({ status: 'fail', message: expect.stringContaining('are gone') as string, fix: 'comfy-env repair needy' })
  const bridge = await BareBridge.start(['--home', on.home('home'), '--comfyui', comfyui, '--interpreter', pythonOf('third')], settings())
  try {
    expect(await bridge.call('isolation.set', { pack: 'needy', on: true })).toMatchObject({ code: 'ENV_BROKEN', message: expect.stringContaining('are gone') as string })
  } finally {
    await bridge.end()
  }

  expect((await comfyEnv(['repair', 'needy', '--home', on.home('home'), '--interpreter', pythonOf('third'), '--json'], { env: settings() })).code).toBe(0)
  expect(await said(pythonOf('third'))).toMatchObject({ status: 'ok' })
})
