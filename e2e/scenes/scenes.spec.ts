/** Every state of the panel, on a scripted bridge: readable by everyone, in both themes, as narrow as the sidebar gets. */
import { AxeBuilder } from '@axe-core/playwright'
import { expect, type Page, test } from '@playwright/test'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../../scripts/devPython.ts'
import { guidePicture } from '../support/pictures.ts'
import { type PlayServer, servePlay } from '../support/play.ts'

const PICTURES = join(ROOT, 'test-results', 'scenes')
let server: PlayServer
test.beforeAll(async () => {
  mkdirSync(PICTURES, { recursive: true })
  server = await servePlay()
})
test.afterAll(() => server.close())

interface Look {
  theme: 'dark' | 'light'
  width: number
}

async function open(page: Page, scene: string, { theme, width }: Look = { theme: 'dark', width: 360 }): Promise<void> {
  await page.goto(`${server.url}/?${new URLSearchParams({ scene, theme, width: String(width), bare: '1' })}`)
  await expect(page.locator(`body[data-played="${scene}"]`)).toBeAttached()
}

const sceneNames = async (page: Page): Promise<string[]> => {
  await page.goto(server.url)
  return page.getByRole('navigation').getByRole('listitem').allInnerTexts()
}

/** Elements that stick out of the panel sideways, by their class. */
const sticksOut = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const scroller = document.querySelector('.em-view') ?? document.querySelector('.em-log-head')
    const roots = [...document.querySelectorAll<HTMLElement>('.em-view, .em-tabs, .em-log-head, dialog[open] .em-dialog-body')]
    return scroller ? roots.filter((root) => root.scrollWidth > root.clientWidth + 1).map((root) => root.className) : []
  })

for (const look of [{ theme: 'dark', width: 360 }, { theme: 'light', width: 280 }] as const) {
  test(`every state is readable, ${look.theme} at ${look.width} px`, async ({ page }) => {
    test.setTimeout(300_000)
    await page.setViewportSize({ width: look.width, height: 900 })
    const asked: string[] = []
    page.on('request', (request) => void (new URL(request.url()).origin !== server.url && asked.push(request.url())))
    const names = await sceneNames(page)
    expect(names.length).toBeGreaterThan(40)
    for (const name of names) {
      await open(page, name, look)
      const picture = `${name.replace(/[^a-z]+/g, '-')}-${look.theme}`
      await page.screenshot({ path: join(PICTURES, `${picture}-${look.width}.png`) })
      await guidePicture(page, picture)
      const { violations } = await new AxeBuilder({ page }).options({ resultTypes: ['violations'] }).analyze()
      const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
      const told = serious.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 120)} ${failureSummary?.split('\n')[1]}`).join(' | ')}`)
      expect.soft(told, name).toEqual([])
      expect.soft(await sticksOut(page), `${name} sticks out`).toEqual([])
    }
    expect(asked, 'nothing from another origin').toEqual([])
  })
}

test('forty hostile lines, one of sixteen thousand characters, and names are shown as text', async ({ page }) => {
  await page.setViewportSize({ width: 900, height: 1400 })
  await open(page, 'log: hostile lines')
  await expect(page.locator('.em-log-take')).toContainText('41 lines')
  const shown = page.locator('.em-log')
  await expect(shown).toContainText('Show all 16,005 characters')
  await expect(shown.locator('img, script, a, svg')).toHaveCount(0)
  await page.getByRole('button', { name: /Show all 16,005 characters/ }).click()
  await page.getByLabel('Follow').uncheck()
  await page.getByRole('log').evaluate((element) => void (element.scrollTop = 0))
  for (const text of ['<img src=x onerror=alert(1)>', '<script>alert(1)</script>', 'abc⟨U+202E⟩gpj.exe', '{{ constructor.constructor(']) await expect(shown).toContainText(text)
  await expect(shown.locator('img, script, a, svg')).toHaveCount(0)
  await open(page, 'packs: strange names')
  await expect(page.locator('.em-pack')).toHaveCount(4)
  await expect(page.locator('.em-pack').first()).toContainText('<b>text</b> ⟨U+202E⟩reversed')
  await expect(page.locator('.em-pack b')).toHaveCount(0)
  expect(await page.title()).toBe('Env Manager, every state')
})

test('keyboard only: through the tabs, into a dialog, and out again', async ({ page }) => {
  await open(page, 'install: preview')
  const dialog = page.getByRole('dialog')
  await expect(dialog).toContainText('numpy 2.1.3 → 1.26.4')
  await expect(dialog).toContainText('ComfyUI’s torch changesno')
  await page.keyboard.press('Escape')
  await expect(dialog).toHaveCount(0)
  await page.getByRole('tab', { name: 'Packs' }).focus()
  await page.keyboard.press('ArrowRight')
  await expect(page.getByRole('tab', { name: 'Envs' })).toBeFocused()
  await expect(page.getByRole('tabpanel')).toContainText('comfyui-kjnodes')
  await page.keyboard.press('End')
  await expect(page.getByRole('tabpanel')).toContainText('This machine')
  await page.keyboard.press('Tab')
  await expect(page.getByRole('tabpanel')).toBeFocused()
})

test('a change of torch needs a confirmation of its own', async ({ page }) => {
  await open(page, 'install: torch changes')
  const dialog = page.getByRole('dialog')
  await expect(dialog).toContainText('ComfyUI’s torch changesYES')
  const agree = dialog.getByRole('button', { name: 'Install', exact: true })
  const isolate = dialog.getByRole('button', { name: 'Install and isolate' })
  await expect(agree.or(isolate)).toBeDisabled()
  await dialog.getByLabel('I understand that this changes the torch that every node pack uses.').check()
  await expect(agree.or(isolate)).toBeEnabled()
})

test('packs are searched, filtered and ordered', async ({ page }) => {
  await open(page, 'packs: five hundred')
  await expect(page.locator('.em-list-head')).toContainText('500 node packs')
  await page.getByLabel('Search node packs').fill('package-7 pack-2')
  await expect(page.locator('.em-list-head')).toContainText(/^\d+ of 500 node packs/)
  await page.getByLabel('Search node packs').fill('')
  await page.getByLabel('Show').selectOption({ label: 'No wheel (62)' })
  await expect(page.locator('.em-pack')).toHaveCount(62)
  await page.getByLabel('Show').selectOption({ label: 'All (500)' })
  await page.getByLabel('Order').selectOption('Problems first')
  await expect(page.locator('.em-pack').first()).toHaveAttribute('data-state', 'broken')
})

test('a worker says what it takes, GPU memory too, and when it does not answer', async ({ page }) => {
  await open(page, 'workers')
  const busy = page.locator('[data-worker="modern-grain#1"]')
  await expect(busy).toContainText('CPU187 %RAM3.2 GiBVRAM7.6 GiB')
  await expect(page.locator('[data-worker="one-more#1"]')).toContainText('it may be stuck. It is not ended by itself')
  await expect(page.locator('[data-worker="one-more#1"]')).toContainText('VRAMnot told by a driver')
  await expect(page.locator('[data-worker="trouble-maker#1"]').getByRole('button', { name: 'Allow again' })).toBeEnabled()
})

test('the first opening says what to do', async ({ page }) => {
  await open(page, 'packs: first run')
  await expect(page.locator('.em-hint')).toContainText('works in two more clicks')
  await open(page, 'packs: none')
  await expect(page.locator('.em-view')).toContainText('No node packs are installed yet.')
})

test('several packs in one go', async ({ page }) => {
  await open(page, 'packs: selected')
  await page.getByRole('button', { name: 'Clear', exact: true }).click()
  await page.getByLabel('Select vintage-tone').check()
  await page.getByLabel('Select ComfyUI-KJNodes').check()
  await expect(page.getByRole('button', { name: 'Install 2' })).toBeEnabled()
})

test('the log: search, level, phase, folding, selection', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.setViewportSize({ width: 1000, height: 800 })
  await open(page, 'log: failed')
  const lines = page.locator('.em-line')
  await expect(page.getByRole('alert')).toContainText('cannot be imported: libcudart.so.12')
  await expect(page.getByRole('alert')).toContainText('Nothing was changed')
  await expect(page.getByRole('alert')).toContainText('First error: ImportError: libcudart.so.12')
  await page.getByRole('button', { name: 'Go to line 31' }).click()
  await expect(page.locator('[data-seq="31"]')).toHaveClass(/em-line-picked/)
  await page.getByLabel('Search the log').fill('package-1')
  await expect(page.getByRole('search')).toContainText('1 of 11')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('search')).toContainText('2 of 11')
  await page.getByLabel('Matches only').check()
  await expect(lines).toHaveCount(11)
  await page.getByLabel('Search the log').fill('')
  await page.getByLabel('Level').selectOption('Errors')
  await expect(lines).toHaveCount(2)
  await page.getByLabel('Level').selectOption('All levels')
  await page.getByLabel('Phase', { exact: true }).selectOption('planning')
  await expect(lines).toHaveCount(5)
  await page.getByLabel('Phase', { exact: true }).selectOption('All phases')
  await page.getByRole('button', { name: 'installing, 21 lines' }).click()
  await expect(lines).toHaveCount(11)
  await page.locator('[data-seq="2"] .em-seq').click()
  await page.locator('[data-seq="4"] .em-seq').click({ modifiers: ['Shift'] })
  await page.getByLabel('Times').uncheck()
  await page.getByRole('button', { name: 'Copy 3 lines' }).click()
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('info   planning  Resolved 5 packages in 312ms\ninfo   planning  + nvdiffrast 0.4.0+cu128torch2.8\ninfo   planning  + numpy 1.26.4')
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Save' }).click()])
  expect(download.suggestedFilename()).toBe('job-failed.log')
  await page.getByRole('button', { name: 'Copy link to the line' }).click()
  expect(new URL(await page.evaluate(() => navigator.clipboard.readText())).searchParams.get('envmanager-log')).toBe('job-failed:2')
})

test('the log follows its end again when the user comes there, however slowly the view moves', async ({ page }) => {
  await open(page, 'log: a hundred thousand lines')
  const follow = page.getByLabel('Follow')
  const log = page.getByRole('log')
  await log.hover()
  await page.mouse.wheel(0, -3000)
  await expect(follow).not.toBeChecked()
  // a wheel's turn on a slow machine: the view moves in steps, the last one long after it
  await log.evaluate(async (element) => {
    element.dispatchEvent(new WheelEvent('wheel', { deltaY: 100_000 }))
    for (let step = 1; step <= 5; step++) {
      const end = element.scrollHeight - element.clientHeight
      element.scrollTop = end - (5 - step) * 100
      await new Promise((done) => setTimeout(done, 150))
    }
  })
  await expect(follow).toBeChecked()
})

test('a hundred thousand lines: the end at once, the needle found, the rest behind it', async ({ page }) => {
  await page.setViewportSize({ width: 1000, height: 800 })
  await open(page, 'log: a hundred thousand lines')
  await expect(page.locator('[data-seq="100000"]')).toBeInViewport()
  await expect(page.locator('.em-log-take')).toContainText('100,000 lines')
  await page.getByLabel('Search the log').fill('needle')
  await expect(page.getByRole('search')).toContainText('1 of 1')
  await expect(page.locator('[data-seq="4322"]')).toBeInViewport()
})

test('the report shows what was hidden, and is copied as it is shown', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await open(page, 'machine: report')
  const dialog = page.getByRole('dialog')
  await expect(dialog).toContainText('3 places were hidden')
  await expect(dialog.locator('mark.em-hidden-secret').last()).toHaveText('***')
  await dialog.getByRole('button', { name: 'Copy the report' }).click()
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain('HF_TOKEN=***')
})

test('200 % zoom: everything is still there', async ({ page }) => {
  // a zoom of 200 % is a page of half as many CSS pixels
  await page.setViewportSize({ width: 280, height: 400 })
  await open(page, 'install: preview', { theme: 'dark', width: 280 })
  await expect(page.getByRole('dialog').getByRole('button', { name: 'Install and isolate' })).toBeInViewport()
  await expect(page.getByRole('dialog').getByRole('button', { name: 'Cancel' })).toBeInViewport()
})
