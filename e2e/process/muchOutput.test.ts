/** A node that prints more than anybody reads: neither the bridge nor ComfyUI nor the disk holds it all, and the call ends as without. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { FRONTENDS } from '../../scripts/devPython.ts'
import type { LogLine } from '../../schemas/job.ts'
import { bridgePid, type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { until } from '../support/processes.ts'
import { run } from '../support/prompts.ts'

const PACK = 'printer'
const CODE = `import os

class Printer:
    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "tests"
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"megabytes": ("INT", {"max": 1000}), "line": ("INT", {"max": 1 << 30})}}
    def run(self, megabytes, line):
        chunk = (b"x" * (line - 1) + b"\\n") * max(1, (1 << 20) // line) if line else b"x" * (1 << 20)
        left = megabytes << 20
        while left > 0:
            left -= os.write(1, chunk[:left])
        print(f"\\nprinted {megabytes}", flush=True)
        return (f"{megabytes} by {os.environ.get('COMFYUI_ISOLATION_WORKER', 'ComfyUI')}",)
NODE_CLASS_MAPPINGS = {"Printer": Printer}
`
const MB = 1 << 20

let comfy: Comfy
let panel: PanelClient
beforeAll(async () => {
  const base = mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
  mkdirSync(join(base, 'custom_nodes', PACK), { recursive: true })
  writeFileSync(join(base, 'custom_nodes', PACK, '__init__.py'), CODE)
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], base })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ host, packs }) => host.comfyui !== null && packs.some(({ id, state }) => id === PACK && state === 'ready'), PACK)
  await panel.call('isolation.set', { pack: PACK, on: true })
  await print(1, 1024)
})
afterAll(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
})

async function print(megabytes: number, line: number): Promise<string> {
  const { outputs, error } = await run(comfy.url, { '1': { class_type: 'Printer', inputs: { megabytes, line } }, '2': { class_type: 'PreviewAny', inputs: { source: ['1', 0] } } })
  return String(outputs['2']?.text ?? error.exception_message)
}

const memory = (pid: number, name: 'VmRSS' | 'VmHWM'): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
const onDisk = (folder: string): number => readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0) / MB

/** A tab that reads nothing of what it is sent. */
async function sleepingTab(): Promise<WebSocket> {
  const tab = new WebSocket(`${comfy.url.replace('http', 'ws')}/api/envmanager/ws`, { origin: comfy.url })
  await new Promise((done) => tab.once('open', done))
  tab.pause()
  return tab
}

test.runIf(process.platform === 'linux').each([
  ['1000 MB in lines', 1000, 1024],
  ['600 MB of empty lines', 600, 1],
  ['1000 MB without an end of line', 1000, 0],
])('%s: bounded memory and disk, the call succeeds, and the log answers', async (_, megabytes, line) => {
  const processes = [bridgePid(comfy.home) ?? 0, comfy.process.pid ?? 0]
  const tab = await sleepingTab()
  const logs = join(comfy.home, 'logs')
  const [before, had, began] = [processes.map((pid) => memory(pid, 'VmRSS')), onDisk(logs), performance.now()]
  expect(await print(megabytes, line)).toBe(`${megabytes} by 1`)
  const said = async (): Promise<boolean> => (await panel.call<{ lines: LogLine[] }>('log.read', { log: `${PACK}#1`, before: null })).lines.some(({ text }) => text === `printed ${megabytes}`)
  await until('the last line in the log', said)
  const seconds = (performance.now() - began) / 1000
  const grown = processes.map((pid, at) => memory(pid, 'VmHWM') - (before[at] ?? 0))
  console.log(`${megabytes} MB, lines of ${line}: ${seconds.toFixed(1)} s, bridge + ${grown[0]?.toFixed(0)} MB, ComfyUI + ${grown[1]?.toFixed(0)} MB, log + ${(onDisk(logs) - had).toFixed(1)} MB`)
  expect(Math.max(...grown)).toBeLessThan(megabytes / 3) // what a collector lets lie is the same for any amount; all of it, held, would be three times that
  expect(onDisk(logs) - had).toBeLessThan(4 * (seconds + 2))
  tab.terminate()
})
