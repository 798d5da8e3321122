/** The zip, unpacked into custom_nodes, on a machine without Node; in a real ComfyUI if there is one. */
import { expect } from '@playwright/test'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { FRONTENDS, PYTHON } from '../../scripts/devPython.ts'
import { Panel, test } from '../support/browser.ts'
import { hostPython } from '../support/hostPython.ts'
import { unpackRelease } from '../support/release.ts'
import { grain } from '../support/workflows.ts'

test('pip install -r requirements.txt, start: the panel works, on the Node that came with it', async ({ page, start }, { project }) => {
  test.skip((project.metadata as { frontend: string }).frontend !== FRONTENDS[0], 'one frontend does')
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-release-'))
  try {
    const product = unpackRelease(folder)
    const python = hostPython(folder, process.env.COMFYUI_DIR ? process.env.COMFYUI_PYTHON : PYTHON)
    execFileSync(join(PYTHON, '..', 'uv'), ['pip', 'install', '--quiet', '--python', python, '-r', join(product, 'requirements.txt')])
    expect(execFileSync(python, [join(product, 'install.py')], { encoding: 'utf8' })).toBe('')
    // no folder with a Node is on the path
    const path = (process.env.PATH ?? '').split(delimiter).filter((entry) => !existsSync(join(entry, 'node')))
    const comfy = await start({ product, python, env: { PATH: path.join(delimiter) } })
    const panel = await Panel.open(page, comfy.url)
    await expect(panel.pack('modern-grain').chip).toHaveText(/Not installed|Conflict/)
    await panel.pack('modern-grain').isolation.click()
    await panel.dialog.getByRole('button', { name: 'Install and isolate' }).click()
    await expect(panel.pack('modern-grain').isolation).toHaveAttribute('aria-checked', 'true', { timeout: 120_000 })
    await expect(panel.pack('modern-grain').isolation).toBeEnabled({ timeout: 60_000 })
    await panel.load(grain('from-the-zip'))
    const outputs = await panel.run(comfy.url)
    expect(outputs['4']?.text?.[0]).toBe('numpy 2.2.6')
    await panel.picture('release', project.name)
    await comfy.stop()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
