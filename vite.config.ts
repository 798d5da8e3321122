import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'
import manifest from './package.json' with { type: 'json' }

/**
 * Two builds. The panel is exactly one JavaScript file, because ComfyUI imports every `*.js` below a pack's web directory
 * as an extension of its own. The bridge is two, a short one that is started and the rest; they need no `node_modules` where ComfyUI runs.
 */
export default defineConfig(({ mode }) => {
  if (mode === 'bridge') {
    return {
      define: { __VERSION__: JSON.stringify(manifest.version) },
      build: {
        ssr: 'bridge/start.ts',
        outDir: 'bridge/dist',
        target: 'node22',
        emptyOutDir: true,
        rollupOptions: {
          output: { entryFileNames: 'comfy-env.mjs', chunkFileNames: '[name].mjs', banner: ({ isEntry }: { isEntry: boolean }) => (isEntry ? '#!/usr/bin/env node' : '') },
        },
      },
      ssr: { noExternal: true, external: ['bufferutil', 'utf-8-validate'] },
    }
  }
  if (mode === 'play') {
    return {
      root: 'web/play',
      base: './',
      plugins: [vue()],
      define: { __VERSION__: JSON.stringify(manifest.version) },
      build: { outDir: '../../node_modules/.cache/play', emptyOutDir: true, cssTarget: 'chrome123' },
    }
  }
  if (mode === 'bench') {
    return {
      build: {
        ssr: 'bench/run.ts',
        outDir: 'node_modules/.cache/bench',
        target: 'node22',
        rollupOptions: { output: { entryFileNames: 'run.mjs', codeSplitting: false } },
      },
      ssr: { noExternal: true },
    }
  }
  if (mode === 'schemas') {
    return {
      build: {
        ssr: 'schemas/build.ts',
        outDir: 'node_modules/.cache/schemas',
        target: 'node22',
        rollupOptions: { output: { entryFileNames: 'build.mjs' } },
      },
    }
  }
  return {
    plugins: [vue()],
    define: {
      __VERSION__: JSON.stringify(manifest.version),
      'process.env.NODE_ENV': '"production"',
      __VUE_OPTIONS_API__: 'false',
      __VUE_PROD_DEVTOOLS__: 'false',
      __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false',
    },
    build: {
      lib: { entry: 'web/main.ts', formats: ['es'], fileName: () => 'envmanager.js' },
      outDir: 'web/dist',
      cssCodeSplit: false,
      cssTarget: 'chrome123', // the first with light-dark(); older targets get a form that needs a color-scheme of our own
      rollupOptions: { external: [/scripts\/(app|api)\.js$/], makeAbsoluteExternalsRelative: false, output: { codeSplitting: false } },
    },
  }
})
