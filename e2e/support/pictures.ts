import { join } from 'node:path'
import type { Page } from '@playwright/test'
import { ROOT } from '../../scripts/devPython.ts'

/** Takes a picture of the guide anew, if `npm run guide` asks for the one of that name. */
export async function guidePicture(page: Page, name: string): Promise<void> {
  if (process.env.GUIDE_PICTURES?.split(',').includes(name)) await page.screenshot({ path: join(ROOT, 'docs', 'pictures', `${name}.jpg`), type: 'jpeg', quality: 80 })
}
