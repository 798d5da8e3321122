/** The panel in a real browser on the play page's scripted bridge: figures as JSON, for `run.ts`. */
import { existsSync } from 'node:fs'
import { chromium, type Page } from '@playwright/test'
import { servePlay } from '../e2e/support/play.ts'

const ROUNDS = 7
const DEBIAN = '/usr/bin/chromium'

interface Measured {
  id: string
  unit: 'ms' | 'MB'
  values: number[]
  limit: number
}

/** Milliseconds from the page's start, its script already in the browser's cache, until `wanted` is there and painted. */
async function untilPainted(page: Page, address: string, wanted: string): Promise<number> {
  await page.goto(address)
  return page.evaluate(async (selector) => {
    while (!document.querySelector(selector)) await new Promise(requestAnimationFrame)
    await new Promise(requestAnimationFrame)
    return performance.now()
  }, wanted)
}

/** Milliseconds from a change of an input until the page says the answer. */
const untilAnswered = (page: Page, input: string, value: string, where: string, answer: string): Promise<number> =>
  page.evaluate(
    async ([selector, text, place, wanted]) => {
      const field = document.querySelector<HTMLInputElement>(selector as string)
      const begin = performance.now()
      if (field) field.value = text as string
      field?.dispatchEvent(new Event('input', { bubbles: true }))
      const isThere = (): boolean => document.querySelector(place as string)?.textContent?.includes(wanted as string) ?? false
      while (!isThere()) await new Promise(requestAnimationFrame)
      return performance.now() - begin
    },
    [input, value, where, answer],
  )

async function measure(): Promise<Measured[]> {
  const server = await servePlay()
  const browser = await chromium.launch({ ...(existsSync(DEBIAN) && { executablePath: DEBIAN }), args: ['--no-sandbox', '--disable-gpu', '--enable-precise-memory-info'] })
  const page = await browser.newPage({ viewport: { width: 1000, height: 800 } })
  const scene = (name: string): string => `${server.url}/?${new URLSearchParams({ scene: name, bare: '1' })}`
  const measured: Measured[] = [
    { id: 'panel-500-packs', unit: 'ms', values: [], limit: 1000 },
    { id: 'panel-500-search', unit: 'ms', values: [], limit: 200 },
    { id: 'log-100k-paint', unit: 'ms', values: [], limit: 500 },
    { id: 'log-100k-search', unit: 'ms', values: [], limit: 200 },
    { id: 'log-100k-memory', unit: 'MB', values: [], limit: 150 },
  ]
  const [packs, search, paint, find, memory] = measured.map(({ values }) => values)
  for (let round = 0; round < ROUNDS; round++) {
    packs?.push(await untilPainted(page, scene('packs: five hundred'), '.em-pack'))
    search?.push(await untilAnswered(page, '.em-search', 'pack-499', '.em-list-head', '1 of 500'))
    paint?.push(await untilPainted(page, scene('log: a hundred thousand lines'), '[data-seq="100000"]'))
    await page.waitForFunction(() => document.querySelector('.em-log-take')?.textContent?.includes('100,000'))
    find?.push(await untilAnswered(page, '.em-log-search input', 'needle', '.em-log-search', '1 of 1'))
    memory?.push(await page.evaluate(() => ((performance as unknown as { memory: { usedJSHeapSize: number } }).memory.usedJSHeapSize) / 1e6))
  }
  await browser.close()
  await server.close()
  return measured
}

console.log(JSON.stringify(await measure()))
