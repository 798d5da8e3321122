/** What is ComfyUI's own, and what it decides anew for each prompt. Only a real ComfyUI (COMFYUI_DIR) has it: skipped without one. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Comfy } from '../support/comfy.ts'
import { hostPython } from '../support/hostPython.ts'
import { startWithFiles } from '../support/ownPacks.ts'
import { PanelClient } from '../support/panelClient.ts'
import { run } from '../support/prompts.ts'

const root = process.env.COMFYUI_DIR ?? ''
const source = (...path: string[]): string => (root && existsSync(join(root, ...path)) ? readFileSync(join(root, ...path), 'utf8') : '')
const hasManager = source('comfy', 'cli_args.py').includes('"--enable-manager"')
const hasDatabase = source('app', 'database', 'db.py').includes('create_session')
const overridesPreviews = source('execution.py').includes('set_preview_method')

/** A node that says what `CODE`, an expression, is. */
const SAYS = (name: string, code: string) => `import json, os, sys
import comfy.cli_args, nodes
def safely(work):
    try: return str(work())
    except Exception as error: return f"{type(error).__name__}: {error}"
class ${name}:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"turn": ("INT", {})}}
    def run(self, turn): return {"ui": {"text": [json.dumps(${code})]}}
NODE_CLASS_MAPPINGS = {"${name}": ${name}}
`
const PREVIEW = '[os.environ.get("COMFYUI_ISOLATION_WORKER", "inside"), comfy.cli_args.args.preview_method.value]'
const DATABASE = `(lambda database: [os.getpid(), database.create_session is not None, *(safely(getattr(database, name)) for name in
    ("can_create_session", "init_db", "create_session"))])(__import__("app.database.db").database.db)`
const MANAGER = '["comfyui_manager" in sys.modules, comfy.cli_args.args.enable_manager, __import__("importlib.util").util.find_spec("comfyui_manager") is not None]'
/** Stands in for the Manager's package: it writes down which process calls what of it. */
const STAND_IN = `import os
from aiohttp import web
def note(what):
    with open(os.environ["CALLED"], "a") as file: file.write(f"{os.getpid()} {what}\\n")
note("import")
prestartup, start = (lambda: note("prestartup")), (lambda: note("start"))
should_be_disabled = lambda path: path.endswith("kept-out")
def create_middleware():
    @web.middleware
    async def passes(request, handler): return await handler(request)
    return passes
`
const PRESTARTUP = `import os
with open(os.environ["CALLED"], "a") as file: file.write(f"{os.getpid()} a pack's prestartup\\n")
`

/** The files of a process that have a word in their names. */
const openFiles = (pid: number, word: string): string[] =>
  readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)].filter((path) => path.includes(word))
    } catch {
      return [] // closed meanwhile
    }
  })

describe.skipIf(!root)('ComfyUI’s own (a real ComfyUI)', () => {
  let comfy: Comfy
  let panel: PanelClient
  let folder = ''
  let called = ''
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'envmanager-own-'))
    called = join(folder, 'called')
    const python = hostPython(folder, process.env.COMFYUI_PYTHON)
    const lib = join(folder, 'host-venv', 'lib')
    const manager = join(lib, readdirSync(lib)[0] ?? '', 'site-packages', 'comfyui_manager')
    mkdirSync(manager)
    writeFileSync(join(manager, '__init__.py'), STAND_IN)
    const packs = {
      inside: { '__init__.py': SAYS('Inside', PREVIEW), 'prestartup_script.py': PRESTARTUP },
      worker: { '__init__.py': SAYS('Worker', PREVIEW) },
      manages: { '__init__.py': SAYS('Manages', hasManager ? MANAGER : '[]') },
      stores: { '__init__.py': SAYS('Stores', hasDatabase ? DATABASE : '[]') },
    }
    const args = hasManager ? ['--enable-manager', '--enable-assets'] : []
    const isolated = ['worker', 'manages', 'stores']
    const keptOut = hasManager ? { 'kept-out': { '__init__.py': SAYS('KeptOut', '[]') } } : undefined
    comfy = await startWithFiles({ ...packs, ...keptOut }, [...isolated, 'kept-out'], { args, python, env: { CALLED: called } })
    panel = await PanelClient.connect(comfy.url)
    await panel.until(({ packs: all }) => isolated.every((name) => all.some(({ id, proxied }) => id === name && proxied)), 'the packs')
  }, 400_000)
  afterAll(async () => {
    panel?.close()
    await comfy?.stop()
    comfy?.remove()
    rmSync(folder, { recursive: true, force: true })
  })

  let turn = 0
  const say = async (name: string, extra: Record<string, unknown> = {}): Promise<unknown> => {
    const { outputs, error } = await run(comfy.url, { '1': { class_type: name, inputs: { turn: turn++ } } }, extra)
    expect(error.exception_message).toBeUndefined()
    return JSON.parse(String(outputs['1']?.text?.[0]))
  }

  test('samplers show their latents as the prompt’s client wants them, and the next prompt’s as ever', async () => {
    const chosen = overridesPreviews ? 'taesd' : 'none'
    const extra = { preview_method: 'taesd' }
    expect([await say('Inside', extra), await say('Worker', extra)]).toEqual([['inside', chosen], ['1', chosen]]) // prettier-ignore
    expect([await say('Inside'), await say('Worker')]).toEqual([['inside', 'none'], ['1', 'none']]) // prettier-ignore
  })

  test.skipIf(!hasDatabase || process.platform !== 'linux')('a worker has its database not open, and says so to who asks (read from /proc, so on Linux only)', async () => {
    const [pid, , can, ...refused] = (await say('Stores')) as [number, boolean, string, string, string]
    expect([can, ...refused.map((text) => text.replace(/\(\w+\)/, ''))]).toEqual(['False', ...Array(2).fill('RuntimeError: ComfyUI’s database  cannot be reached from an isolated node. Run this node inside ComfyUI: switch its isolation off.'.replace('’', "'"))])
    expect([openFiles(pid, 'comfyui.db'), openFiles(comfy.process.pid ?? 0, 'comfyui.db').length > 0]).toEqual([[], true])
  })

  test.skipIf(!hasManager)('a pack that its Manager keeps out is not loaded, isolated or not', async () => {
    const { packs } = await panel.snapshot()
    const classes = (await (await fetch(`${comfy.url}/api/object_info`)).json()) as Record<string, unknown>
    expect([packs.find(({ id }) => id === 'kept-out')?.loaded, 'KeptOut' in classes, 'Worker' in classes]).toEqual(['no', false, true])
  })

  test.skipIf(!hasManager)('its Manager starts in its process, before packs, and never in a worker', async () => {
    expect(await say('Manages')).toEqual([false, false, true])
    const lines = readFileSync(called, 'utf8').trim().split('\n')
    expect(lines).toEqual(['import', 'prestartup', 'a pack\'s prestartup', 'start'].map((what) => `${comfy.process.pid} ${what}`))
  })
})
