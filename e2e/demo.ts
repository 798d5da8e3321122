/**
 * `npm run demo`: a ComfyUI with our pack and sample packs whose packages clash. Real ComfyUI where COMFYUI_DIR names one (with
 * COMFYUI_PYTHON for its Python), else the test host with the real frontend.
 */
import { mkdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { ensurePython, FRONTENDS, ROOT } from '../scripts/devPython.ts'
import { startComfy } from './support/comfy.ts'
import { startWheelIndex } from './support/wheelIndex.ts'

const USUAL_PORT = 8188

/** ComfyUI's usual port if it is free; otherwise any. */
function port(): Promise<number | undefined> {
  return new Promise((done) => {
    const server = createServer()
    server.once('error', () => done(undefined))
    server.listen(USUAL_PORT, '127.0.0.1', () => server.close(() => done(USUAL_PORT)))
  })
}

const python = ensurePython()
const base = join(ROOT, '.demo')
mkdirSync(base, { recursive: true })
const index = await startWheelIndex(python)
const chosen = await port()
const comfy = await startComfy({
  frontend: process.env.DEMO_FRONTEND ?? FRONTENDS[0],
  packs: ['vintage-tone', 'modern-grain', 'no-wheel-here'],
  base,
  env: { COMFY_ENV_SOURCES: index.simple },
  ...(chosen !== undefined && { port: chosen }),
})

console.log(`
${comfy.real ? 'ComfyUI' : 'The test host with the real ComfyUI frontend'} runs at  ${comfy.url}

 1. Open it and press the box in the sidebar: "Environments".
 2. vintage-tone and modern-grain want two versions of numpy, and neither is ComfyUI's. Press Install on both, look at what
    will be done, and confirm. The log opens below.
 3. Switch both to Isolated. No restart.
 4. Drag  ${join(ROOT, 'e2e', 'demo-workflow.json')}  onto the canvas and press Run:
    each node says which numpy it ran on, and the image comes from both.

Ctrl-C ends it and everything it started. Its files are in ${base}.
`)

let ending = false
async function end(): Promise<void> {
  if (ending) return
  ending = true
  await comfy.stop()
  await index.close()
  process.exit(0)
}
process.on('SIGINT', () => void end())
process.on('SIGTERM', () => void end())
comfy.process.once('exit', () => {
  if (ending) return
  console.error(`It ended by itself:\n${comfy.output().slice(-2000)}`)
  void index.close().then(() => process.exit(1))
})
