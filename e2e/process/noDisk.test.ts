/** A home that cannot be written: what is isolated runs, and the panel says what is not possible. Needs mounts of its own. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FRONTENDS, PYTHON } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from '../support/comfy.ts'
import { PanelClient } from '../support/panelClient.ts'
import { finished, queue } from '../support/prompts.ts'

const canMount = process.platform === 'linux' && spawnSync('unshare', ['-m', 'sh', '-c', 'mount -t tmpfs -o size=1m tmpfs /mnt'], { stdio: 'ignore' }).status === 0
if (!canMount) console.log('Passed over: a disk that is full or read-only takes mounts, and these take root on Linux.')

const PACK = `import os
class N:
    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "odd"
    @classmethod
    def INPUT_TYPES(cls): return {"required": {}}
    @classmethod
    def IS_CHANGED(cls): return float("nan")
    def run(self): return (os.environ.get("COMFYUI_ISOLATION_WORKER", "inside") + " " + str(os.getpid()),)
NODE_CLASS_MAPPINGS = {"NoDisk": N}
`

let base: string
let comfy: Comfy | undefined
let panel: PanelClient | undefined
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
  mkdirSync(join(base, 'custom_nodes', 'no-disk'), { recursive: true })
  writeFileSync(join(base, 'custom_nodes', 'no-disk', '__init__.py'), PACK)
})
afterEach(async () => {
  panel?.close()
  await comfy?.stop()
  rmSync(base, { recursive: true, force: true, maxRetries: 5 })
})

async function start(mount?: string): Promise<void> {
  panel?.close()
  await comfy?.stop()
  const python = join(base, 'python.sh')
  if (mount) writeFileSync(python, `#!/bin/sh\nHOME_DIR='${join(base, 'user', '__envmanager')}' exec unshare -m sh -ec '${mount}\nexec "$0" "$@"' '${PYTHON}' "$@"\n`)
  if (mount) chmodSync(python, 0o755)
  comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], base, real: false, env: { XDG_RUNTIME_DIR: join(base, 'runtime') }, ...(mount && { python }) })
  panel = await PanelClient.connect(comfy.url)
  await panel.until(({ host, packs }) => host.comfyui !== null && packs.some(({ id, loaded }) => id === 'no-disk' && loaded !== 'no'), 'the pack')
}

async function run(): Promise<string> {
  const prompt = { '1': { class_type: 'NoDisk', inputs: {} }, '2': { class_type: 'PreviewAny', inputs: { source: ['1', 0] } } }
  const { outputs, error } = await finished(comfy?.url ?? '', await queue(comfy?.url ?? '', prompt))
  return String(outputs['2']?.text ?? error.exception_message)
}

test.runIf(canMount).each([
  ['read-only', 'mount --bind "$HOME_DIR" "$HOME_DIR"; mount -o remount,ro,bind "$HOME_DIR"', /Nothing can be installed or switched, and no log is kept: .*EROFS/, /FILE_UNWRITABLE/],
  ['full', 'cp -a "$HOME_DIR" "$HOME_DIR.kept"; mount -t tmpfs -o size=4m tmpfs "$HOME_DIR"; cp -a "$HOME_DIR.kept/." "$HOME_DIR"; cat /dev/zero > "$HOME_DIR/fill" 2>/dev/null || true', /Nothing can be installed or switched, and no log is kept: The disk is full\./, /DISK_FULL/],
])('a home that is %s', async (_, mount, problem, refusal) => {
  await start()
  await panel?.call('isolation.set', { pack: 'no-disk', on: true })
  expect(await run()).toMatch(/^1 \d+$/)
  await start(mount)
  const { host } = (await panel?.snapshot()) ?? {}
  expect(host?.problems.join(' ')).toMatch(problem)
  const first = await run()
  expect(first).toMatch(/^1 \d+$/)
  // a worker that dies is followed by another one
  process.kill(Number(first.split(' ')[1]), 'SIGKILL')
  await panel?.until(({ workers }) => workers.every(({ state }) => state.status === 'crashed'), 'the crash')
  expect(await run()).toMatch(/^1 \d+$/)
  await expect(panel?.call('isolation.set', { pack: 'no-disk', on: false })).rejects.toThrow(refusal)
  expect(await run()).toMatch(/^1 \d+$/)
  expect((await panel?.snapshot())?.packs.find(({ id }) => id === 'no-disk')?.isolation.state).toMatch(/on|failed/)
})

test.runIf(canMount)('a disk that becomes full while the bridge runs ends neither it nor a pack’s first load', async () => {
  await start('mkdir -p "$HOME_DIR"; mount -t tmpfs -o size=4m tmpfs "$HOME_DIR"')
  const { pid } = JSON.parse(execFileSync('sh', ['-c', `cat /proc/${comfy?.process.pid}/root${comfy?.home}/run/*/bridge.json`]).toString()) as { pid: number }
  spawnSync('nsenter', ['-t', String(comfy?.process.pid), '-m', 'sh', '-c', `cat /dev/zero > '${comfy?.home}/fill'`])
  await expect(panel?.call('isolation.set', { pack: 'no-disk', on: true })).rejects.toThrow(/DISK_FULL/)
  expect((await panel?.snapshot())?.packs.find(({ id }) => id === 'no-disk')?.isolation).toMatchObject({ state: 'failed', reason: expect.stringContaining('The disk is full') })
  expect(() => process.kill(pid, 0)).not.toThrow()
  spawnSync('nsenter', ['-t', String(comfy?.process.pid), '-m', 'rm', `${comfy?.home}/fill`])
  await panel?.call('isolation.set', { pack: 'no-disk', on: true })
  expect(await run()).toMatch(/^1 \d+$/)
})
