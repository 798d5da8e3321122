/** What the panel keeps and tells: settings, the report, ComfyUI's own environment. */
import { expect } from '@playwright/test'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PYTHON } from '../../scripts/devPython.ts'
import { numpyOf, Panel, test } from '../support/browser.ts'
import { hostPython } from '../support/hostPython.ts'
import { startWheelIndex } from '../support/wheelIndex.ts'

test('settings are the bridge’s, in the panel, in ComfyUI’s settings and on disk; offline says so', async ({ page, start }, { project }) => {
  const comfy = await start()
  const panel = await Panel.open(page, comfy.url)
  await panel.view('Machine')
  const settings = page.getByRole('region', { name: 'Settings' })
  await settings.getByLabel('Offline: ask nothing of the network').check()
  await expect(page.locator('#em-view')).toContainText('Offline: nothing is asked of the network.')
  await settings.getByLabel('Workers for one pack').fill('2')
  await settings.getByLabel('Workers for one pack').blur()
  await expect(async () => expect(readFileSync(join(comfy.home, 'settings.toml'), 'utf8')).toMatch(/offline = true[\s\S]*per_pack = 2/)).toPass()
  const inHost = (): Promise<unknown> => page.evaluate(() => (window as unknown as { app: { extensionManager: { setting: { get: (id: string) => unknown } } } }).app.extensionManager.setting.get('EnvManager.offline'))
  await expect(async () => expect(await inHost()).toBe(true)).toPass()
  await panel.picture('offline', project.name)
  // and back, from ComfyUI's own settings
  await page.evaluate(() => (window as unknown as { app: { extensionManager: { setting: { set: (id: string, value: unknown) => Promise<void> } } } }).app.extensionManager.setting.set('EnvManager.offline', false))
  await expect(page.locator('#em-view')).not.toContainText('Offline: nothing is asked')
  // what the panel does not know is for the bridge to refuse: registry is fixed by the tests' own variable
  await expect(settings.getByLabel('Ask the known publishers of wheels')).toBeDisabled()
})

test('the diagnostic report holds what helps and hides what must not leave', async ({ page, context, start }, { project }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  const comfy = await start({ env: { COMFY_ENV_PROXY: '' } })
  const panel = await Panel.open(page, comfy.url)
  await panel.view('Machine')
  await page.getByRole('button', { name: 'Make the report' }).click()
  await expect(panel.dialog).toContainText('## Node packs')
  await panel.picture('report', project.name)
  await panel.dialog.getByRole('button', { name: 'Copy the report' }).click()
  const report = await page.evaluate(() => navigator.clipboard.readText())
  expect(report).toContain('torch 2.13.0')
  expect(report).toContain('no-wheel-here: no_wheel')
})

test('into ComfyUI’s own environment: said before, undone after, restart told', async ({ page, start }, { project }) => {
  const index = await startWheelIndex(PYTHON, [{ name: 'helper', version: '1.0' }])
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-own-'))
  try {
    const python = hostPython(folder)
    const pack = join(folder, 'needs-helper')
    mkdirSync(pack)
    writeFileSync(join(pack, '__init__.py'), 'import helper\nNODE_CLASS_MAPPINGS = {}\n')
    writeFileSync(join(pack, 'requirements.txt'), 'helper==1.0\n')
    const comfy = await start({ packs: [pack], real: false, python, env: { COMFY_ENV_SOURCES: index.simple, COMFY_ENV_INDEX: index.simple } })
    const panel = await Panel.open(page, comfy.url)
    await panel.pack('needs-helper').install.click()
    await panel.dialog.getByLabel('Install into').selectOption('ComfyUI’s own environment')
    await expect(panel.dialog).toContainText('ComfyUI must be restarted afterwards.')
    await expect(panel.dialog).toContainText(/\+\s*helper 1\.0/)
    await panel.picture('into-comfyui', project.name)
    await panel.dialog.getByRole('button', { name: 'Install', exact: true }).click()
    await expect(page.locator('#em-view')).toContainText('ComfyUI should be restarted. ComfyUI’s own environment was changed for needs-helper.', { timeout: 60_000 })
    const has = (): string => execFileSync(python, ['-c', 'import importlib.util; print(importlib.util.find_spec("helper") is not None)'], { encoding: 'utf8' }).trim()
    expect(has()).toBe('True')
    await panel.view('Envs')
    await page.getByRole('button', { name: 'Put back' }).click()
    await expect(panel.dialog).toContainText('− helper')
    await panel.dialog.getByRole('button', { name: 'Put back' }).click()
    await expect(page.getByRole('region', { name: 'ComfyUI’s own environment' })).toContainText('put back')
    expect(has()).toBe('False')
    expect(numpyOf(python)).toBe(numpyOf(PYTHON))
  } finally {
    await index.close()
    rmSync(folder, { recursive: true, force: true })
  }
})
