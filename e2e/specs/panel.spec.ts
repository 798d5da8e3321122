/** The panel on the real frontend: what a user does with it, from the first click. */
import { expect, type Page } from '@playwright/test'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Panel, test } from '../support/browser.ts'
import type { Prompt } from '../support/prompts.ts'
import { forgetResults } from '../support/prompts.ts'
import { trouble } from '../support/workflows.ts'

const toned: Prompt = {
  '1': { class_type: 'EmptyImage', inputs: { width: 64, height: 48, batch_size: 1, color: 1234567 } },
  '5': { class_type: 'VintageTone', inputs: { image: ['1', 0], strength: 200 } },
  '7': { class_type: 'PreviewAny', inputs: { source: ['5', 1] } },
}

/** Counts what a user clicks, from now on. */
async function countClicks(page: Page): Promise<() => Promise<number>> {
  await page.addInitScript(() => {
    const counted = window as unknown as { clicks: number }
    counted.clicks = 0
    addEventListener('click', (event) => void (event.isTrusted && counted.clicks++), true)
  })
  return () => page.evaluate(() => (window as unknown as { clicks: number }).clicks)
}

/** What the one node of a workflow that is of a kind holds. */
const nodeIs = (page: Page, type: string): Promise<{ chosen: unknown; badges: string[] }> =>
  page.evaluate((wanted) => {
    interface Node {
      type: string
      properties: Record<string, unknown>
      badges: (() => { text: string } | { text: string })[]
    }
    const { graph } = (window as unknown as { app: { graph: { nodes?: Node[]; _nodes: Node[] } } }).app
    const node = (graph.nodes ?? graph._nodes).find(({ type }) => type === wanted)
    const texts = node?.badges.map((badge) => (typeof badge === 'function' ? badge() : badge).text).filter(Boolean) ?? []
    return { chosen: node?.properties.envmanager_isolated, badges: texts }
  }, type)

async function selectNode(page: Page, type: string): Promise<void> {
  await page.evaluate((wanted) => {
    interface Node {
      type: string
    }
    const { graph, canvas } = (window as unknown as { app: { graph: { nodes?: Node[]; _nodes: Node[] }; canvas: { selectNodes?: (nodes: Node[]) => void; selectItems?: (nodes: Node[]) => void } } }).app
    const nodes = (graph.nodes ?? graph._nodes).filter(({ type }) => type === wanted)
    if (canvas.selectItems) canvas.selectItems(nodes)
    else canvas.selectNodes?.(nodes)
  }, type)
}

test('three clicks from the first opening to a working isolated node', async ({ page, start }, { project }) => {
  const clicks = await countClicks(page)
  const comfy = await start()
  const panel = await Panel.open(page, comfy.url)
  await expect(panel.pack('vintage-tone').chip).toHaveText('Conflict')
  await panel.pack('vintage-tone').isolation.click()
  await expect(panel.dialog).toContainText('ComfyUI’s torch changesno')
  await panel.dialog.getByRole('button', { name: 'Install and isolate' }).click()
  await expect(panel.pack('vintage-tone').isolation).toHaveAttribute('aria-checked', 'true', { timeout: 120_000 })
  await expect(panel.pack('vintage-tone').isolation).toBeEnabled({ timeout: 60_000 })
  expect(await clicks()).toBe(3)
  const known = () => page.evaluate(() => 'VintageTone' in (window as unknown as { LiteGraph: { registered_node_types: object } }).LiteGraph.registered_node_types)
  await expect(async () => expect(await known()).toBe(true)).toPass()
  await panel.load(toned)
  expect((await panel.run(comfy.url))['7']?.text?.[0]).toMatch(/^numpy (1\.26\.4|2\.1\.3), tinyops 0\.4\.0/)
  await panel.picture('three-clicks', project.name)

  await test.step('the environment page shows it, repairs it, and undoes', async () => {
    await panel.view('Envs')
    const card = page.locator('[data-env="vintage-tone"]')
    await expect(card).toContainText(/Used byvintage-tone, isolated/)
    await expect(card).toContainText(/Size\d+ MB, of which deleting frees [\d.]+ [kM]B/)
    await expect(card.getByRole('button', { name: 'Delete' })).toBeDisabled()
    const generation = readdirSync(join(comfy.home, 'envs', 'vintage-tone')).find((name) => name.startsWith('gen-')) ?? ''
    const lib = join(comfy.home, 'envs', 'vintage-tone', generation, 'lib')
    appendFileSync(join(lib, readdirSync(lib)[0] ?? '', 'site-packages', 'tinyops', '__init__.py'), '\n# damage\n')
    await panel.view('Machine')
    await page.getByRole('button', { name: 'Check everything' }).click()
    await expect(page.locator('[data-check="env:vintage-tone"]')).toContainText('wrong')
    await panel.view('Envs')
    await expect(card).toContainText('Broken')
    await panel.picture('env-broken', project.name)
    await card.getByRole('button', { name: 'Repair' }).click()
    await expect(card).toContainText('2, the one before is kept for undo', { timeout: 120_000 })
    await expect(card).not.toContainText('Broken')
    await card.getByRole('button', { name: 'Undo last install' }).click()
    await expect(card).toContainText('1, the one before is kept for undo')
  })

  await test.step('switched off, its environment can be deleted, and the space is free', async () => {
    await panel.view('Packs')
    await panel.pack('vintage-tone').isolation.click()
    await expect(panel.pack('vintage-tone').isolation).toHaveAttribute('aria-checked', 'false')
    await panel.view('Envs')
    const card = page.locator('[data-env="vintage-tone"]')
    await card.getByRole('button', { name: 'Delete' }).click()
    await expect(panel.dialog).toContainText(/It frees [\d.]+ [kM]B/)
    await panel.dialog.getByRole('button', { name: 'Delete' }).click()
    await expect(card).toHaveCount(0)
    expect(readdirSync(join(comfy.home, 'envs'))).toEqual([])
    await page.getByRole('button', { name: 'What can be freed?' }).click()
    await expect(page.getByRole('region', { name: 'Disk space' })).toContainText(/GB free|MB free/)
  })
})

test('node classes and single nodes: the nearest choice wins', async ({ page, start }, { project }) => {
  const comfy = await start({ packs: ['trouble-maker'] })
  const panel = await Panel.open(page, comfy.url)
  const where = async (): Promise<string> => {
    await forgetResults(comfy.url)
    await panel.load(trouble('TroubleWhere'))
    return String((await panel.run(comfy.url))['3']?.text?.[0])
  }
  await expect(panel.pack('trouble-maker').chip).toHaveText('Ready')
  expect(await where()).toMatch(/isolated 0$/)

  await test.step('a single node, by its key: badge, property, and where it runs', async () => {
    await forgetResults(comfy.url)
    await panel.load(trouble('TroubleWhere'))
    await selectNode(page, 'TroubleWhere')
    await page.locator('canvas').first().focus()
    await page.keyboard.press('Control+Alt+i')
    await expect(async () => expect(await nodeIs(page, 'TroubleWhere')).toMatchObject({ chosen: true, badges: expect.arrayContaining(['isolated']) as unknown })).toPass()
    await panel.picture('node-badge', project.name)
    expect(String((await panel.run(comfy.url))['3']?.text?.[0])).toMatch(/isolated 1$/)
    await page.locator('canvas').first().focus()
    await page.keyboard.press('Control+Alt+i')
    await expect(async () => expect((await nodeIs(page, 'TroubleWhere')).chosen).toBe(false)).toPass()
  })

  await test.step('a single node, from its context menu', async () => {
    const at = await page.evaluate(() => {
      interface Node {
        type: string
        pos: [number, number]
      }
      const { graph, canvas } = (window as unknown as { app: { graph: { nodes?: Node[]; _nodes: Node[] }; canvas: { ds: { convertOffsetToCanvas: (point: [number, number]) => [number, number] }; canvas: HTMLElement } } }).app
      const node = (graph.nodes ?? graph._nodes).find(({ type }) => type === 'TroubleWhere')
      const [x, y] = canvas.ds.convertOffsetToCanvas([(node?.pos[0] ?? 0) + 40, (node?.pos[1] ?? 0) - 12])
      const box = canvas.canvas.getBoundingClientRect()
      return { x: box.left + x, y: box.top + y }
    })
    await page.mouse.click(at.x, at.y, { button: 'right' })
    const entry = page.getByText('Where it runs', { exact: true }).first()
    await expect(entry).toBeVisible()
    await entry.hover()
    await entry.click()
    await panel.picture('node-menu', project.name)
    await page.getByText(/As its class \(in ComfyUI\)/).click()
    await expect(async () => expect((await nodeIs(page, 'TroubleWhere')).chosen).toBeUndefined()).toPass()
    await page.keyboard.press('Escape')
  })

  await test.step('a node class, in the pack’s details, with what cannot cross', async () => {
    await panel.pack('trouble-maker').row.getByText('Details').click()
    await panel.pack('trouble-maker').row.getByText(/\d+ node classes/).click()
    await panel.pack('trouble-maker').row.getByLabel('Where TroubleWhere runs').selectOption('Isolated')
    await expect(panel.pack('trouble-maker').row).toContainText('1 node class set apart from the pack.')
    expect(await where()).toMatch(/isolated 1$/)
    await panel.picture('node-classes', project.name)
    await panel.pack('trouble-maker').row.getByLabel('Where TroubleWhere runs').selectOption({ label: 'As the pack (in ComfyUI)' })
    await expect(panel.pack('trouble-maker').row).not.toContainText('set apart')
    expect(await where()).toMatch(/isolated 0$/)
  })

  await test.step('the pack, with a preview; a class stays in ComfyUI', async () => {
    await panel.pack('trouble-maker').isolation.click()
    await expect(panel.dialog).toContainText(/Its \d+ node classes run in a process of its own/)
    await expect(panel.dialog).toContainText('What its import has changed in ComfyUI stays until ComfyUI is restarted.')
    await panel.picture('isolate-preview', project.name)
    await panel.agree()
    await expect(panel.pack('trouble-maker').isolation).toHaveAttribute('aria-checked', 'true')
    await expect(panel.pack('trouble-maker').isolation).toBeEnabled({ timeout: 60_000 })
    expect(await where()).toMatch(/isolated 1$/)
    await panel.pack('trouble-maker').row.getByLabel('Where TroubleWhere runs').selectOption({ label: 'In ComfyUI' })
    await expect(panel.pack('trouble-maker').row).toContainText('1 node class set apart from the pack.')
    expect(await where()).toMatch(/isolated 0$/)
  })

  await test.step('a worker is restarted, crashes, and is told of', async () => {
    await panel.view('Workers')
    const worker = page.locator('[data-worker="trouble-maker#1"]')
    const pid = (): Promise<string> => worker.locator('dd').first().innerText()
    const before = await pid()
    await worker.getByRole('button', { name: 'Restart' }).click()
    await expect(async () => expect(await pid()).not.toBe(before)).toPass()
    await expect(worker).toHaveAttribute('data-status', 'ready')
    await panel.load(trouble('TroubleCrash', { how: 'segfault' }))
    await page.locator('canvas').first().focus()
    await page.keyboard.press('Control+Enter')
    await expect(worker).toHaveAttribute('data-status', 'crashed')
    await expect(worker).toContainText('ended by SIGSEGV')
    await page.keyboard.press('Escape') // older frontends show the node's error in a dialog
    await panel.picture('worker-crashed', project.name)
    await worker.getByRole('button', { name: 'Log', exact: true }).click()
    await page.getByLabel('Search the log').fill('about to crash')
    await expect(page.locator('.em-line mark')).toHaveText('about to crash')
  })
})

test('a reload in the middle of an install: same log, no line lost or doubled, same progress', async ({ page, start, index }) => {
  const comfy = await start()
  index.fail('/files/', (response) => void response.writeHead(200, { 'content-length': 1_000_000 }).write(Buffer.alloc(400_000)))
  const panel = await Panel.open(page, comfy.url)
  await panel.install('vintage-tone')
  await expect(panel.pack('vintage-tone').row).toContainText('400 kB / 1.0 MB')
  await expect(page.getByRole('log')).toContainText('download ')
  const before = await panel.logLines.allInnerTexts()
  await page.reload()
  await panel.openTab()
  await expect(panel.pack('vintage-tone').row).toContainText('400 kB / 1.0 MB')
  await panel.pack('vintage-tone').log.click()
  await expect(page.getByRole('log')).toContainText('download ')
  const after = await panel.logLines.allInnerTexts()
  expect(after.slice(0, before.length)).toEqual(before)
  const numbers = after.map((text) => Number(/^\d+/.exec(text)?.[0]))
  expect(numbers).toEqual(numbers.map((_, at) => at + 1))
  await panel.pack('vintage-tone').cancel.click()
  await expect(panel.pack('vintage-tone').chip).toHaveText('Conflict')
})

test('several packs in one go: a queue with places, cancelled one by one, tried again', async ({ page, start, index }, { project }) => {
  const folder = mkdtempSync(join(tmpdir(), 'envmanager-many-'))
  const needy = ['one', 'two', 'three', 'four'].map((name) => {
    mkdirSync(join(folder, name))
    writeFileSync(join(folder, name, '__init__.py'), 'NODE_CLASS_MAPPINGS = {}\n')
    writeFileSync(join(folder, name, 'comfyui_env.toml'), '[packages]\nno_deps = ["tinyops==0.4.0"]\n')
    return join(folder, name)
  })
  try {
    const comfy = await start({ packs: needy })
    index.fail('/files/', (response) => void response.writeHead(200, { 'content-length': 1_000_000 }).write('PK'))
    const panel = await Panel.open(page, comfy.url)
    await page.getByRole('button', { name: 'Select all 4 that can be installed' }).click()
    await panel.pack('four').row.getByLabel('Select four').uncheck()
    await page.getByRole('button', { name: 'Install 3' }).click()
    await expect(panel.dialog).toContainText('Install for 3 node packs?')
    await expect(panel.dialog.getByRole('region')).toHaveCount(3)
    await panel.picture('bulk-preview', project.name)
    await panel.agree()
    const queue = page.getByRole('region', { name: 'Now' })
    await expect(queue.locator('[data-job]')).toHaveCount(3)
    await expect(queue.locator('[data-job]').last()).toContainText('waits, number 1 in the queue')
    await panel.picture('queue', project.name)
    await queue.locator('[data-job]').last().getByRole('button', { name: 'Cancel' }).click()
    await expect(queue.locator('[data-job]')).toHaveCount(2)
    const history = page.getByRole('region', { name: 'Before' })
    await expect(history.locator('[data-job]')).toContainText('cancelled')
    for (const left of [1, 0]) {
      await queue.locator('[data-job]').first().getByRole('button', { name: 'Cancel' }).click()
      await expect(queue.locator('[data-job]')).toHaveCount(left)
    }
    index.mend('/files/')
    await history.locator('[data-job]').first().getByRole('button', { name: 'Try again' }).click()
    await expect(history.locator('[data-status="done"]')).toHaveCount(1, { timeout: 120_000 })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a failed install: its cause above the log, and the way on', async ({ page, start, index }, { project }) => {
  const comfy = await start()
  index.fail('/files/', (response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>not a wheel</html>'))
  const panel = await Panel.open(page, comfy.url)
  await panel.install('vintage-tone')
  await expect(panel.pack('vintage-tone').chip).toHaveText('Failed', { timeout: 60_000 })
  const summary = page.getByRole('alert').filter({ hasText: 'Failed while downloading' })
  await expect(summary).toContainText('Nothing was changed')
  await summary.getByRole('button', { name: /Go to line \d+/ }).click()
  await panel.picture('failed', project.name)
  await page.getByLabel('Search the log').fill('tinyops')
  await expect(page.getByRole('search')).toContainText(/1 of \d+/)
  index.mend('/files/')
  await summary.getByRole('button', { name: 'Try again' }).click()
  await expect(panel.pack('vintage-tone').chip).toHaveText('Ready', { timeout: 120_000 })
})

test('a link leads to a line of a log', async ({ page, context, start }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  const comfy = await start()
  const panel = await Panel.open(page, comfy.url)
  await panel.install('modern-grain')
  await expect(panel.pack('modern-grain').chip).toHaveText('Ready', { timeout: 120_000 })
  await page.locator('[data-seq="2"] .em-seq').click()
  await page.getByRole('button', { name: 'Copy link to the line' }).click()
  const link = await page.evaluate(() => navigator.clipboard.readText())
  const other = await context.newPage()
  await other.goto(link)
  await expect(other.locator('[data-seq="2"]')).toHaveClass(/em-line-picked/, { timeout: 60_000 })
})
