/** Node packs with odd names and odd files: each is that pack's own state, and the others are as without it. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { PackInfo } from '../../schemas/pack.ts'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { bridgePid, type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { until } from '../support/processes.ts'
import { finished, queue } from '../support/prompts.ts'

/** Isolated and run; the others are looked at only. */
const RUN = ['ComfyUI-中文节点', 'pack[1]', 'na\nme', `${'中'.repeat(84)}xxx`, '-dash', '__proto__', 'trailing. ']
const SEEN = ['حزمة', 'emoji🙂', `it's "quoted"`, '.dotted', '%41', 'constructor', 'caf\u00e9', 'cafe\u0301', 'Case', 'case', '\u001b]0;owned\u0007', 'rtl\u202egnp', '$(id)', '..pack', '{x}']

const nodeOf = (name: string): string => `Odd${RUN.indexOf(name)}`
const code = (name: string): string => `class N:
    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "odd"
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"value": ("INT", {})}}
    def run(self, value):
        import os
        return (os.environ.get("COMFYUI_ISOLATION_WORKER", "inside"),)
NODE_CLASS_MAPPINGS = {${RUN.includes(name) ? `"${nodeOf(name)}": N` : ''}}
`

let comfy: Comfy
let panel: PanelClient
beforeAll(async () => {
  const base = mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
  const packs = join(base, 'custom_nodes')
  const put = (name: string, text: string): void => {
    mkdirSync(join(packs, name), { recursive: true })
    writeFileSync(join(packs, name, '__init__.py'), text)
  }
  for (const name of [...RUN, ...SEEN]) put(name, code(name))
  put('plain', 'NODE_CLASS_MAPPINGS = {}\n')
  put('broken', 'import nothing_like_that\n')
  put('broken-中', 'import nothing_like_that\n')
  put('pipe', 'NODE_CLASS_MAPPINGS = {}\n')
  execFileSync('mkfifo', [join(packs, 'pipe', 'requirements.txt')])
  put('folder', 'NODE_CLASS_MAPPINGS = {}\n')
  mkdirSync(join(packs, 'folder', 'comfyui_env.toml'))
  put('linked', 'NODE_CLASS_MAPPINGS = {}\n')
  symlinkSync('requirements.txt', join(packs, 'linked', 'requirements.txt'))
  execFileSync('sh', ['-c', 'mkdir "$(printf "bad\\377")" && echo "NODE_CLASS_MAPPINGS = {}" > "$(printf "bad\\377")/__init__.py"'], { cwd: packs })
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], base, real: false })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ host, packs: all }) => host.comfyui !== null && all.every(({ loaded }) => loaded !== 'no'), 'every pack')
})
afterAll(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
})

const find = (packs: PackInfo[], id: string): PackInfo => {
  const found = packs.find((pack) => pack.id === id)
  if (!found) throw new Error(`${JSON.stringify(id)} is not among ${JSON.stringify(packs.map((pack) => pack.id))}`)
  return found
}

test('every pack is seen by its name, and each import error is shown', async () => {
  const { packs } = await panel.snapshot()
  for (const name of [...RUN, ...SEEN, 'plain']) expect(find(packs, name)).toMatchObject({ state: 'ready', loaded: 'host' })
  for (const name of ['broken', 'broken-中']) expect(find(packs, name)).toMatchObject({ state: 'broken', loaded: 'failed', import_error: expect.stringContaining('nothing_like_that') })
})

test('what is odd about a file or a name is that pack’s state, in a sentence', async () => {
  const { packs } = await panel.snapshot()
  expect(find(packs, 'pipe')).toMatchObject({ state: 'broken', reason: expect.stringMatching(/requirements.txt is no file\.$/), loaded: 'host' })
  expect(find(packs, 'folder')).toMatchObject({ state: 'broken', reason: expect.stringMatching(/comfyui_env.toml is no file\.$/) })
  expect(find(packs, 'linked')).toMatchObject({ state: 'broken', reason: expect.stringMatching(/requirements.txt cannot be read: ELOOP/) })
  expect(find(packs, 'bad\udcff')).toMatchObject({ state: 'broken', reason: expect.stringMatching(/is not UTF-8/), loaded: 'host' })
  await expect(panel.call('isolation.set', { pack: 'bad\udcff', on: true })).rejects.toThrow(/is not UTF-8.*Rename the folder/)
})

let asked = 0
/** Where its node runs: each time with another input, so that it does run. */
const place = async (name: string): Promise<unknown> => {
  const prompt = { '1': { class_type: nodeOf(name), inputs: { value: asked++ } }, '2': { class_type: 'PreviewAny', inputs: { source: ['1', 0] } } }
  return (await finished(comfy.url, await queue(comfy.url, prompt))).outputs['2']?.text
}

test('a pack is isolated whatever its name is, also after a bridge’s end and at ComfyUI’s next start', async () => {
  for (const pack of RUN) {
    expect([pack, await place(pack)]).toEqual([pack, ['inside']])
    await panel.call('isolation.set', { pack, on: true })
    expect([pack, await place(pack)]).toEqual([pack, ['1']])
  }
  const pid = bridgePid(comfy.home)
  process.kill(pid ?? 0, 'SIGKILL')
  await until('the next bridge', () => ![null, pid].includes(bridgePid(comfy.home)))
  panel.close()
  panel = await PanelClient.connect(comfy.url)
  const { packs } = await panel.until(({ host, packs: all }) => host.comfyui !== null && all.every(({ loaded }) => loaded !== 'no'), 'every pack')
  for (const name of RUN) expect(find(packs, name)).toMatchObject({ isolation: { state: 'on' }, loaded: 'worker' })
  panel.close()
  await comfy.stop()
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], base: comfy.base, real: false })
  panel = await PanelClient.connect(comfy.url)
  for (const name of RUN) expect(await place(name)).toEqual(['1'])
})
