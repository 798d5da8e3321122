import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  plugins: [vue()],
  define: { __VERSION__: '"0.0.0-test"' },
  test: {
    projects: [
      { extends: true, test: { name: 'unit', include: ['{schemas,bridge,web}/**/*.test.ts'], testTimeout: 60_000, hookTimeout: 60_000 } },
      {
        extends: true,
        test: {
          name: 'process',
          include: ['e2e/process/*.test.ts'],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      // real kills, many times over, and fuzzing: `npm run faults`
      { extends: true, test: { name: 'faults', include: ['e2e/faults/*.test.ts'], fileParallelism: false, testTimeout: 600_000, hookTimeout: 120_000 } },
    ],
  },
})
