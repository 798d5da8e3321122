/** A frontend that lacks something we use: it works, the rest of ours works, and the panel says what does not. */
import { expect, type Page } from '@playwright/test'
import { Panel, test } from '../support/browser.ts'

/** Has the page's extensions, which we are, find nothing at one place of the frontend. */
async function without(page: Page, module: 'app' | 'api', path: string[]): Promise<void> {
  const body = `
    const hidden = (object, [first, ...rest]) => new Proxy(object, { get(target, key) {
      const value = Reflect.get(target, key)
      if (key === first) return rest.length > 0 ? hidden(value, rest) : undefined
      return typeof value === 'function' ? value.bind(target) : value
    } })
    export const ${module} = hidden(window.comfyAPI.${module}.${module}, ${JSON.stringify(path)})`
  await page.route(`**/scripts/${module}.js*`, (route) => route.fulfill({ contentType: 'text/javascript', body }))
}

const CASES: ['app' | 'api', string, RegExp][] = [
  ['app', 'registerExtension', /has no app\.registerExtension\)\. Commands, keys, menus, .* are not there/],
  ['app', 'extensionManager.command', /has no app\.extensionManager\.command\.execute\)\. Reload the page/],
  ['app', 'extensionManager.bottomPanel', /toggleBottomPanelTab\)\. Open the log from ComfyUI’s bottom panel/],
  ['app', 'extensionManager.setting.set', /setting\.set\)\. ComfyUI’s settings page does not show/],
  ['app', 'extensionManager.toast.add', /toast\.add\)\. Errors are in the browser’s console/],
  ['api', 'addEventListener', /has no api\.addEventListener\)\. It is not said which packs/],
  ['api', 'apiURL', /has no api\.apiURL\)\. Below a sub-path/],
]

test('a frontend that lacks what we use works, and the panel says what does not', async ({ page, start }) => {
  const { url } = await start({ packs: ['vintage-tone'] })
  const unhandled: string[] = []
  page.on('pageerror', ({ message, stack = '' }) => void (stack.includes('envmanager') && unhandled.push(message))) // the frontend has some of its own
  const unknown = page.locator('.em-problem').filter({ hasText: 'frontend is one that we do not know' })
  const panel = await Panel.open(page, url)
  await expect(panel.pack('vintage-tone').row).toBeVisible()
  await expect(unknown).toHaveCount(0)
  for (const [module, path, said] of CASES) {
    await page.unrouteAll()
    await without(page, module, path.split('.'))
    await panel.page.goto(url)
    await panel.openTab()
    await expect(unknown.filter({ hasText: said }), path).toHaveCount(1)
    await expect(panel.pack('vintage-tone').row, path).toBeVisible()
  }
  await page.unrouteAll()
  const log: string[] = []
  page.on('console', (message) => log.push(message.text()))
  await without(page, 'app', ['extensionManager', 'registerSidebarTab'])
  await page.goto(url)
  await expect(page.locator('canvas').first()).toBeVisible({ timeout: 60_000 })
  await expect(async () => expect(log.join()).toMatch(/has no app\.extensionManager\.registerSidebarTab\)\. The panel is not in the sidebar/)).toPass()
  expect(unhandled).toEqual([])
})
