import { expect, type Page, test as base } from '@playwright/test'
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { PYTHON, ROOT } from '../../scripts/devPython.ts'
import { SHARED_CACHE } from './cache.ts'
import { type Comfy, type ComfyOptions, startComfy } from './comfy.ts'
import { guidePicture } from './pictures.ts'
import type { Prompt } from './prompts.ts'
import { startWheelIndex, type WheelIndex } from './wheelIndex.ts'

interface Fixtures {
  index: WheelIndex
  start: (options?: Partial<ComfyOptions>) => Promise<Comfy>
}

export const test = base.extend<Fixtures>({
  index: async ({}, use) => {
    const index = await startWheelIndex(PYTHON)
    await use(index)
    await index.close()
  },
  start: async ({ index, context }, use, info) => {
    await context.route(
      ({ hostname }) => !['127.0.0.1', 'localhost'].includes(hostname),
      (route) => route.abort(),
    )
    const started: Comfy[] = []
    await use(async (options = {}) => {
      const { frontend } = info.project.metadata as { frontend: string }
      const env = { COMFY_ENV_SOURCES: index.simple, COMFY_ENV_CACHE: SHARED_CACHE, ...options.env }
      const packs = ['vintage-tone', 'modern-grain', 'trouble-maker', 'no-wheel-here']
      const comfy = await startComfy({ frontend, packs, ...options, env })
      started.push(comfy)
      return comfy
    })
    for (const comfy of started) {
      await comfy.stop()
      if (info.status !== info.expectedStatus) console.log(comfy.output())
      comfy.remove()
    }
  },
})

/** The panel as a user sees it. */
export class Panel {
  constructor(readonly page: Page) {}

  static async open(page: Page, url: string): Promise<Panel> {
    await page.goto(url)
    const panel = new Panel(page)
    await panel.openTab()
    return panel
  }

  /** The tab's button; its name is the tooltip on every frontend from 1.27 to 1.58. */
  async openTab(): Promise<void> {
    await this.page.getByRole('button', { name: 'Environments and isolation' }).click({ timeout: 60_000 })
    await expect(this.page.locator('.em-panel')).toBeVisible()
  }

  pack(id: string) {
    const row = this.page.locator(`.em-pack[data-pack="${id}"]`)
    return {
      row,
      install: row.getByRole('button', { name: /^(Install|Update|Try again)$/ }),
      cancel: row.getByRole('button', { name: 'Cancel' }),
      isolation: row.getByRole('switch'),
      log: row.getByRole('button', { name: 'Log', exact: true }),
      chip: row.locator('.em-chip'),
    }
  }

  get dialog() {
    return this.page.locator('dialog.em-dialog[open]')
  }

  get logLines() {
    return this.page.locator('.em-line')
  }

  /** Opens one of the panel's views. */
  async view(name: 'Packs' | 'Envs' | 'Workers' | 'Activity' | 'Machine'): Promise<void> {
    await this.page.getByRole('tab', { name }).click()
  }

  /** Clicks Install and agrees to the preview. */
  async install(id: string, isolate = true): Promise<void> {
    await this.pack(id).install.click()
    await this.dialog.getByLabel('Run isolated as soon as it is installed').setChecked(isolate)
    await this.agree()
  }

  async agree(): Promise<void> {
    await this.dialog.getByRole('button', { name: /^(Install|Install and isolate|Isolate)$/ }).click()
  }

  async isolate(id: string): Promise<void> {
    await this.pack(id).isolation.click()
    await this.agree()
    await expect(this.pack(id).isolation).toHaveAttribute('aria-checked', 'true')
    await expect(this.pack(id).isolation).toBeEnabled({ timeout: 60_000 })
  }

  /** Puts a workflow on the canvas. */
  async load(prompt: Prompt): Promise<void> {
    await this.page.evaluate(async (graph) => {
      const { app } = window as unknown as { app: { loadApiJson: (graph: unknown, name: string) => Promise<void> } }
      await app.loadApiJson(graph, 'test')
    }, prompt)
  }

  /** Runs what is on the canvas, as Ctrl+Enter does, and waits for the prompt's end. */
  async run(url: string): Promise<Record<string, Record<string, unknown[]>>> {
    const history = async () => (await (await fetch(`${url}/api/history`)).json()) as Record<string, { outputs: Record<string, Record<string, unknown[]>>; status: { status_str: string; messages: unknown[] } }>
    const before = new Set(Object.keys(await history()))
    await this.page.locator('canvas').first().focus()
    await this.page.keyboard.press('Control+Enter')
    let found: string | undefined
    await expect(async () => {
      found = Object.keys(await history()).find((id) => !before.has(id))
      expect(found).toBeDefined()
    }).toPass({ timeout: 60_000 })
    const entry = (await history())[found ?? '']
    expect(entry?.status.status_str, JSON.stringify(entry?.status.messages)).toBe('success')
    return entry?.outputs ?? {}
  }

  /** Keeps a picture for people to look at. */
  async picture(name: string, project: string): Promise<void> {
    const folder = join(ROOT, 'test-results', 'pictures')
    mkdirSync(folder, { recursive: true })
    await this.page.screenshot({ path: join(folder, `${name}-${project}.png`) })
    await guidePicture(this.page, name)
  }
}

/** What a Python says of its numpy. */
export const numpyOf = (python: string): string =>
  execFileSync(python, ['-c', 'import numpy; print(numpy.__version__)'], { encoding: 'utf8' }).trim()
