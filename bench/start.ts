import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { PYTHON } from '../scripts/devPython.ts'
import { timing, type Case } from './case'

const ROOT = process.cwd()
const TURNS = 5
/** How long ComfyUI's main thread may be in our code until its server answers. */
const LIMIT_MS = 100

const freePort = (): Promise<number> =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => done(typeof address === 'object' && address ? address.port : 0))
    })
  })

const PACK = `class Node:
    RETURN_TYPES, FUNCTION, CATEGORY = (), "run", "bench"
    @classmethod
    def INPUT_TYPES(cls): return {"required": {}}
    def run(self): return ()
NODE_CLASS_MAPPINGS = {"NAME": Node}
`

/** A folder for ComfyUI with our pack and so many isolated ones. */
function folderWith(packs: string[]): string {
  const base = mkdtempSync(join(tmpdir(), 'envmanager-bench-start-'))
  for (const name of ['custom_nodes', 'input', 'output', 'temp', 'models', 'user/default', 'user/__envmanager']) mkdirSync(join(base, name), { recursive: true })
  symlinkSync(ROOT, join(base, 'custom_nodes', 'comfyui-envmanager'), 'junction')
  for (const pack of packs) {
    mkdirSync(join(base, 'custom_nodes', pack))
    writeFileSync(join(base, 'custom_nodes', pack, '__init__.py'), PACK.replace('NAME', `Bench ${pack}`))
  }
  writeFileSync(join(base, 'user', '__envmanager', 'state.json'), JSON.stringify({ schema: 1, isolated: packs }))
  return base
}

/** One start of the test host, or of the ComfyUI that `COMFYUI_DIR` names; milliseconds in our code. Stays until `until` says so. */
async function startOnce(base: string, until: () => boolean): Promise<number> {
  const real = process.env.COMFYUI_DIR
  const result = join(base, 'result.json')
  rmSync(result, { force: true })
  const own = real ? ['--cpu', '--disable-api-nodes', '--database-url', `sqlite:///${join(base, 'user', 'comfyui.db')}`] : ['--front-end-root', base]
  const main = real ? join(resolve(real), 'main.py') : join(ROOT, 'e2e', 'host', 'main.py')
  const python = real ? (process.env.COMFYUI_PYTHON ?? 'python3') : PYTHON
  const child = spawn(python, [join(ROOT, 'bench', 'start_cost.py'), result, ROOT, main, '--base-directory', base, '--port', String(await freePort()), ...own], { cwd: base, stdio: 'ignore', env: { ...process.env, COMFY_ENV_REGISTRY: 'off' } })
  const ended = new Promise<void>((done) => child.once('exit', () => done()))
  while ((!existsSync(result) || !until()) && child.exitCode === null) await pause(50)
  child.kill('SIGINT')
  await ended
  return (JSON.parse(readFileSync(result, 'utf8')) as { ours: number }).ours
}

/** What ComfyUI's start waits for in our code: with no isolated pack, and with five whose classes are kept. */
export async function startCases(): Promise<Case[]> {
  const cases: Case[] = []
  for (const count of [0, 5]) {
    const packs = Array.from({ length: count }, (_, number) => `bench-${number}`)
    const base = folderWith(packs)
    const areKept = (): boolean => packs.every((pack) => existsSync(join(base, 'user', '__envmanager', 'classes', `${pack}.json`)))
    const times: number[] = []
    await startOnce(base, areKept) // compiles, and loads the packs for the first time
    for (let turn = 0; turn < TURNS; turn++) times.push(await startOnce(base, () => true))
    rmSync(base, { recursive: true, force: true, maxRetries: 5 })
    const ours = timing(times)
    cases.push({ id: `start-${count}`, unit: 'ms', ours, peers: {}, floor: null, ratio: null, target: `≤ ${LIMIT_MS} ms in our code`, met: ours.p50 <= LIMIT_MS })
  }
  return cases
}
