import { existsSync } from 'node:fs'
import { defineConfig } from '@playwright/test'
import { FRONTENDS } from './scripts/devPython.ts'

const debian = '/usr/bin/chromium'

export default defineConfig({
  workers: 1,
  timeout: 180_000,
  expect: { timeout: 20_000 },
  reporter: [['list'], ['json', { outputFile: 'test-results/browser.json' }]],
  use: {
    viewport: { width: 1280, height: 900 },
    screenshot: 'only-on-failure',
    launchOptions: {
      // Playwright's own browser cannot be fetched everywhere; Debian's serves as well
      ...(existsSync(debian) && { executablePath: debian }),
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    },
  },
  projects: [
    { name: 'scenes', testDir: 'e2e/scenes' },
    ...FRONTENDS.map((frontend) => ({ name: `frontend-${frontend}`, testDir: 'e2e/specs', metadata: { frontend } })),
  ],
})
