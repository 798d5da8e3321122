import { expect } from '@playwright/test'
import { join } from 'node:path'
import { PYTHON } from '../../scripts/devPython.ts'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { numpyOf, Panel, test } from '../support/browser.ts'
import { forgetResults } from '../support/prompts.ts'
import { makeThreeWheelsPack, THREE_WHEELS, threeWheelsSettings } from '../support/threeWheels.ts'
import { startWheelIndex } from '../support/wheelIndex.ts'
import { both, grain } from '../support/workflows.ts'

/** The Python that ComfyUI runs on here. */
const host = process.env.COMFYUI_DIR ? (process.env.COMFYUI_PYTHON ?? 'python3') : PYTHON

test('from a click to an isolated result', async ({ page, start }, { project }) => {
  const hostNumpy = numpyOf(host)
  const comfy = await start()
  const panel = await Panel.open(page, comfy.url)
  const exact = (name: string): Buffer => readFileSync(join(comfy.base, 'output', `${name}.npy`))

  await test.step('the machine is shown, each fact with its source', async () => {
    const card = page.getByRole('region', { name: 'This machine' })
    await expect(card).toContainText('torch 2.13.0')
    await panel.view('Machine')
    await expect(card).toContainText('2.13.0, CPU build')
    await expect(card).toContainText(/torch\/version\.py/)
    await expect(card).toContainText(/3\.\d+\.\d+ \(cp3\d+/)
    await panel.view('Packs')
  })

  await test.step('each pack has one state and its reason', async () => {
    await expect(panel.pack('modern-grain').chip).toHaveText('Conflict')
    await expect(panel.pack('modern-grain').row).toContainText(`ComfyUI has numpy ${hostNumpy}`)
    await expect(panel.pack('vintage-tone').chip).toHaveText('Conflict')
    await expect(panel.pack('trouble-maker').chip).toHaveText('Ready')
    const none = panel.pack('no-wheel-here')
    await expect(none.chip).toHaveText('No wheel')
    await none.row.getByText('Details').click()
    await none.row.getByText('Refused wheels (12)').click()
    await expect(none.row).toContainText('nvdiffrast-0.4.0+cu128torch2.8-cp312-cp312-win_amd64.whl')
    await expect(none.row).toContainText(/needs another system.*another torch/)
    await panel.load(grain('in-process'))
    await panel.picture('states', project.name)
  })

  await test.step('modern-grain runs in ComfyUI first: the result to compare with', async () => {
    await panel.load(grain('in-process'))
    const outputs = await panel.run(comfy.url)
    expect(outputs['4']?.text).toEqual([`numpy ${hostNumpy}`])
  })

  await test.step('Install shows what it will do, then does it, and its log is live', async () => {
    await panel.pack('vintage-tone').install.click()
    await expect(panel.dialog).toContainText(/\+\s*numpy (1\.26\.4|2\.1\.3)/)
    await expect(panel.dialog).toContainText(/Download\d+ MB.*torch changesno/)
    await panel.picture('preview', project.name)
    await panel.dialog.getByLabel('Run isolated as soon as it is installed').uncheck()
    await panel.agree()
    await expect(page.getByRole('log')).toContainText('verifying', { timeout: 120_000 })
    await expect(panel.pack('vintage-tone').chip).toHaveText('Ready')
    await expect(page.getByRole('log').getByText('Done.')).toBeInViewport()
    await page.getByRole('log').hover()
    await page.mouse.wheel(0, -2000)
    await expect(page.getByRole('checkbox', { name: 'Follow' })).not.toBeChecked()
    await page.mouse.wheel(0, 100_000)
    await expect(page.getByRole('checkbox', { name: 'Follow' })).toBeChecked()
    await panel.picture('installed', project.name)
    await panel.install('modern-grain', false)
    await expect(panel.pack('modern-grain').chip).toHaveText('Ready', { timeout: 120_000 })
  })

  await test.step('the log survives a reload', async () => {
    const before = await panel.logLines.allInnerTexts()
    await page.reload()
    await panel.openTab()
    await panel.pack('modern-grain').log.click()
    await expect(page.getByRole('log')).toContainText('Done.')
    expect(await panel.logLines.allInnerTexts()).toEqual(before)
  })

  await test.step('the switch brings a pack that ComfyUI cannot import, without a restart', async () => {
    await panel.isolate('vintage-tone')
    await panel.isolate('modern-grain')
    const known = () => page.evaluate(() => 'VintageTone' in (window as unknown as { LiteGraph: { registered_node_types: object } }).LiteGraph.registered_node_types)
    await expect(async () => expect(await known()).toBe(true)).toPass()
  })

  await test.step('both packs run in one workflow, each with its own numpy', async () => {
    await forgetResults(comfy.url)
    await panel.load(both('isolated'))
    const outputs = await panel.run(comfy.url)
    expect(outputs['4']?.text).toEqual(['numpy 2.2.6'])
    expect(outputs['7']?.text?.[0]).toMatch(/^numpy (1\.26\.4|2\.1\.3), tinyops 0\.4\.0 \(cputorch2\.13\)$/)
    expect(outputs['9']?.images).toHaveLength(1)
    await panel.view('Workers')
    const worker = page.locator('[data-worker="vintage-tone#1"]')
    await expect(worker).toContainText('1 call')
    await expect(worker).toContainText(/Process\d+CPU\d+ %RAM[\d.]+ [MG]iB/)
    await expect(worker).toContainText(/Last callVintageTone \(node \d+\), /)
    await panel.picture('result', project.name)
  })

  await test.step('bit for bit the same image, and ComfyUI’s numpy untouched', async () => {
    expect(exact('isolated').equals(exact('in-process'))).toBe(true)
    expect(numpyOf(host)).toBe(hostNumpy)
  })

  await test.step('the switch goes back as well', async () => {
    await panel.view('Packs')
    await panel.pack('modern-grain').isolation.click()
    await expect(panel.pack('modern-grain').isolation).toHaveAttribute('aria-checked', 'false')
    await expect(panel.pack('modern-grain').isolation).toBeEnabled()
    await forgetResults(comfy.url)
    await panel.load(grain('back'))
    const outputs = await panel.run(comfy.url)
    expect(outputs['4']?.text).toEqual([`numpy ${hostNumpy}`])
    expect(exact('back').equals(exact('in-process'))).toBe(true)
  })
})

test('light look', async ({ page, start }, { project }) => {
  const comfy = await start()
  await fetch(`${comfy.url}/api/settings/Comfy.ColorPalette`, { method: 'POST', body: '"light"' })
  const panel = await Panel.open(page, comfy.url)
  await expect(panel.pack('trouble-maker').chip).toHaveText('Ready')
  const colour = (selector: string): Promise<number[]> =>
    page.locator(selector).first().evaluate((element) => getComputedStyle(element).color.match(/\d+/g)?.slice(0, 3).map(Number) ?? [])
  expect(Math.max(...(await colour('.em-panel')))).toBeLessThan(128)
  // a dark red and a dark green: the states differ, and can be read on a light ground
  const [red = 0, green = 0] = await colour('.em-chip-no_wheel')
  expect(red).toBeGreaterThan(2 * green)
  expect(red).toBeLessThan(180)
  await panel.picture('light', project.name)
})

test('cancel ends an install and leaves nothing behind', async ({ page, start, index }, { project }) => {
  const comfy = await start()
  // the wheel's download begins and does not end
  index.fail('/files/', (response) => void response.writeHead(200, { 'content-length': 1000 }).write('PK'))
  const panel = await Panel.open(page, comfy.url)
  await panel.install('vintage-tone')
  await expect(panel.pack('vintage-tone').row.getByRole('progressbar')).toBeVisible()
  await expect(panel.pack('vintage-tone').chip).toHaveText('Installing')
  await panel.pack('vintage-tone').row.scrollIntoViewIfNeeded()
  await panel.picture('installing', project.name)
  await panel.pack('vintage-tone').cancel.click()
  await expect(panel.pack('vintage-tone').chip).toHaveText('Conflict')
  await expect(page.getByRole('log')).toContainText('Cancelled. Nothing was changed.')
})

test('without Node, ComfyUI starts and the panel says what to do', async ({ page, start }, { project }) => {
  const comfy = await start({ env: { COMFY_ENV_NODE: '/nowhere/node' } })
  const panel = await Panel.open(page, comfy.url)
  await expect(panel.page.locator('.em-connection')).toContainText('COMFY_ENV_NODE names /nowhere/node, which is no Node.js 22.13 or newer.')
  await expect(panel.page.locator('.em-connection')).toContainText('restart ComfyUI')
  await panel.picture('no-node', project.name)
})

test('two browser tabs show the same, and one install', async ({ page, context, start }) => {
  const comfy = await start()
  const first = await Panel.open(page, comfy.url)
  const second = await Panel.open(await context.newPage(), comfy.url)
  const asked = async (pack: string): Promise<void> => {
    for (const panel of [first, second]) {
      await panel.pack(pack).install.click()
      await expect(panel.dialog).toContainText('numpy')
    }
  }
  const jobs = (pack: string) => second.page.getByLabel('Log', { exact: true }).getByRole('option', { name: new RegExp(`^${pack}`) })
  // one agrees when the other's install has ended long ago …
  await asked('vintage-tone')
  await first.agree()
  await expect(second.pack('vintage-tone').chip).toHaveText('Ready', { timeout: 120_000 })
  await second.agree()
  await expect(jobs('vintage-tone')).toHaveCount(1)
  // … and both at once
  await asked('modern-grain')
  await Promise.all([first.agree(), second.agree()])
  await expect(second.pack('modern-grain').chip).toHaveText('Ready', { timeout: 120_000 })
  await expect(first.pack('modern-grain').chip).toHaveText('Ready')
  await second.pack('modern-grain').log.click()
  await expect(jobs('modern-grain')).toHaveCount(1)
})

test('a pack whose wheels exist for another torch only gets an environment of that combination', async ({ page, start }, { project }) => {
  const index = await startWheelIndex(PYTHON, THREE_WHEELS)
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-three-'))
  try {
    const comfy = await start({ packs: [makeThreeWheelsPack(folder)], env: threeWheelsSettings(index), real: false })
    const panel = await Panel.open(page, comfy.url)
    const pack = panel.pack('three-wheels')
    await expect(pack.chip).toHaveText('No wheel')
    await pack.row.getByRole('button', { name: 'Find what fits' }).click()
    const offers = pack.row.getByRole('list', { name: 'Combinations with every wheel' })
    await expect(offers.getByRole('button')).toHaveCount(1)
    await expect(offers).toContainText(/Python 3\.\d+, torch 2\.8\.0, CPU/)
    await panel.picture('offers', project.name)
    await offers.getByRole('button', { name: /Create an environment with/ }).click()
    await expect(panel.dialog).toContainText(/sealed environment with Python 3\.\d+, torch 2\.8\.0, CPU of its own/)
    await expect(panel.dialog).toContainText(/torch changesno/)
    await panel.agree()
    await expect(pack.chip).toHaveText('Ready', { timeout: 120_000 })
    await pack.row.getByText('Details').click()
    await expect(pack.row).toContainText(/Sealed environment, Python 3\.\d+, torch 2\.8\.0, CPU/)
    await panel.picture('sealed', project.name)
  } finally {
    await index.close()
    rmSync(folder, { recursive: true, force: true })
  }
})
