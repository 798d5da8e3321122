/**
 * `node e2e/parity.ts PACK_FOLDER…`: whether node packs do in a worker what they do inside ComfyUI. Needs a real ComfyUI (COMFYUI_DIR,
 * COMFYUI_PYTHON with what the packs need). Starts it twice, with the packs inside and isolated, and compares node types,
 * `/object_info`, and the result of every node that takes no live object, bit by bit, under equal seeds.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { FRONTENDS } from '../scripts/devPython.ts'
import { type Comfy, startComfy } from './support/comfy.ts'
import { finished, type Outcome, type Prompt, queue } from './support/prompts.ts'

interface NodeInfo {
  input: Record<string, Record<string, [unknown, Record<string, unknown>?]> | undefined>
  output: unknown[]
  output_node: boolean
  python_module: string
}

/** Every random number generator starts anew with each prompt, and with each call in a worker: both enter inference mode then. */
const SEED = `
import sys
class _Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        import importlib.util
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            enter = module.inference_mode.__enter__
            def seeded(self):
                print("SEEDED", flush=True)
                import random, numpy
                random.seed(11); numpy.random.seed(11); module.manual_seed(11)
                return enter(self)
            module.inference_mode.__enter__ = seeded
        spec.loader.exec_module = exec_module
        return spec
sys.meta_path.insert(0, _Finder())
`

const python = process.env.COMFYUI_PYTHON ?? 'python3'
const packs = process.argv.slice(2)
if (!process.env.COMFYUI_DIR || packs.length === 0) throw new Error('COMFYUI_DIR and at least one pack folder are needed.')
const names = packs.map((path) => basename(path))

function seeding(): () => void {
  const site = execFileSync(python, ['-c', 'import sysconfig; print(sysconfig.get_paths()["purelib"])'], { encoding: 'utf8' }).trim()
  const files = [join(site, 'envmanager_parity_seed.py'), join(site, 'envmanager_parity_seed.pth')]
  writeFileSync(files[0] ?? '', SEED)
  writeFileSync(files[1] ?? '', 'import envmanager_parity_seed\n')
  return () => files.forEach((file) => rmSync(file, { force: true }))
}

async function start(isolated: boolean): Promise<Comfy> {
  const base = mkdtempSync(join(tmpdir(), 'envmanager-parity-'))
  const home = join(base, 'user', '__envmanager')
  mkdirSync(home, { recursive: true })
  writeFileSync(join(home, 'state.json'), JSON.stringify({ schema: 1, isolated: isolated ? names : [] }))
  // one order of Python's sets in all processes
  const env = { COMFY_ENV_IDLE_MINUTES: '0', PYTHONHASHSEED: '0' }
  return startComfy({ frontend: FRONTENDS[1], packs: ['parity-probe', ...packs], base, env })
}

const SOURCE_TYPES = new Set('IMAGE MASK LATENT SIGMAS AUDIO CONDITIONING INT FLOAT STRING BOOLEAN * LIST DICT BBOX'.split(' '))

/** A value for one input: a link to a source, a default, or undefined if there is none to give. */
function valueFor(spec: [unknown, Record<string, unknown>?], prompt: Prompt): unknown {
  const [type, options = {}] = spec
  if (Array.isArray(type)) return options.default ?? type[0]
  const kind = String(type)
  if (kind === 'COMBO') return options.default ?? (options.options as unknown[] | undefined)?.[0]
  if (['INT', 'FLOAT', 'STRING', 'BOOLEAN'].includes(kind) && !options.forceInput) {
    return options.default ?? { INT: options.min ?? 1, FLOAT: options.min ?? 0.5, STRING: 'text', BOOLEAN: false }[kind]
  }
  if (!SOURCE_TYPES.has(kind)) return undefined
  const id = `s${kind}`
  prompt[id] = { class_type: `ParitySource ${kind}`, inputs: {} }
  return [id, 0]
}

/** A prompt that runs one node on fixed values; null if it needs something that only a live model or another node gives. */
function promptFor(name: string, info: NodeInfo): Prompt | null {
  if (process.env.PARITY_ONLY && !new RegExp(process.env.PARITY_ONLY).test(name)) return null
  const prompt: Prompt = {}
  const inputs: Record<string, unknown> = {}
  for (const [section, entries] of Object.entries(info.input)) {
    if (section === 'hidden') continue
    for (const [input, spec] of Object.entries(entries ?? {})) {
      const value = valueFor(spec, prompt)
      if (value !== undefined && value !== null) inputs[input] = value
      else if (section === 'required') return null
    }
  }
  prompt.node = { class_type: name, inputs }
  info.output.forEach((_, at) => (prompt[`o${at}`] = { class_type: 'ParitySink', inputs: { value: ['node', at] } }))
  return prompt
}

/** What is compared of an outcome: every output's digest, what the node shows, its error's class and message. */
function essence({ end, outputs, error }: Outcome): unknown {
  const { exception_type, exception_message } = error
  const plain = (text: string): string => text.replaceAll(/envmanager-parity-\w+/g, 'base').replaceAll(/_temp_[a-z]{5}_\d+/g, '_temp')
  const message = exception_message?.replaceAll(/0x[0-9a-f]+/g, '0x').replaceAll(/envmanager-parity-\w+/g, 'base').trim()
  return { end, outputs: JSON.parse(plain(JSON.stringify(outputs))) as unknown, type: exception_type?.split('.').at(-1), message }
}

/** Nodes that fetch models, say, do not end here: they are left out, and ComfyUI is started again. */
const NODE_MS = 15_000

async function runAll(running: { comfy: Comfy }, isolated: boolean, prompts: Map<string, Prompt>): Promise<Map<string, unknown>> {
  const results = new Map<string, unknown>()
  for (const [name, prompt] of prompts) {
    if (process.env.PARITY_TRACE) console.error(name)
    try {
      results.set(name, essence(await finished(running.comfy.url, await queue(running.comfy.url, prompt), NODE_MS)))
    } catch (error) {
      results.set(name, { refused: String(error).replaceAll(/envmanager-parity-\w+/g, 'base') })
      if (!String(error).includes('did not end')) continue
      await running.comfy.stop('SIGKILL')
      running.comfy.remove()
      running.comfy = await start(isolated)
    }
  }
  return results
}

async function describe(comfy: Comfy): Promise<Record<string, NodeInfo>> {
  await fetch(`${comfy.url}/api/object_info`) // ComfyUI itself makes folders at the first one, which others list
  const all = (await (await fetch(`${comfy.url}/api/object_info`)).json()) as Record<string, NodeInfo>
  const own = new Set(names.map((name) => `custom_nodes.${name}`))
  return Object.fromEntries(Object.entries(all).filter(([, { python_module }]) => own.has(python_module)))
}

async function one(isolated: boolean, prompts: Map<string, Prompt> | null): Promise<{ info: Record<string, NodeInfo>; results: Map<string, unknown>; prompts: Map<string, Prompt> }> {
  const running = { comfy: await start(isolated) }
  try {
    const info = await describe(running.comfy)
    const wanted = prompts ?? new Map(Object.entries(info).flatMap(([name, entry]) => {
      const prompt = promptFor(name, entry)
      return prompt ? [[name, prompt] as const] : []
    }))
    return { info, results: await runAll(running, isolated, wanted), prompts: wanted }
  } finally {
    writeFileSync(join(tmpdir(), `parity-${isolated ? 'isolated' : 'inside'}.log`), running.comfy.output())
    await running.comfy.stop()
    running.comfy.remove()
  }
}

/** Both as text, from a little before the first character that differs. */
function beside(inside: unknown, isolated: unknown): string {
  const [one, other] = [JSON.stringify(inside) ?? 'nothing', JSON.stringify(isolated) ?? 'nothing']
  const first = [...one].findIndex((letter, at) => letter !== other[at])
  const from = Math.max(0, (first === -1 ? one.length : first) - 200)
  return `    inside   ${one.slice(from, from + 600)}\n    isolated ${other.slice(from, from + 600)}`
}

const undo = seeding()
try {
  const inside = await one(false, null)
  const isolated = await one(true, inside.prompts)
  const unequal = [...inside.prompts].filter(([name]) => !isDeepStrictEqual(inside.results.get(name), isolated.results.get(name)))
  // what also differs between two runs inside ComfyUI says nothing about isolation
  const again = unequal.length > 0 ? (await one(false, new Map(unequal))).results : new Map<string, unknown>()
  for (const pack of names) {
    const own = Object.keys(inside.info).filter((name) => inside.info[name]?.python_module === `custom_nodes.${pack}`)
    const missing = own.filter((name) => !isolated.info[name])
    const more = Object.keys(isolated.info).filter((name) => isolated.info[name]?.python_module === `custom_nodes.${pack}` && !inside.info[name])
    const differ = own.filter((name) => isolated.info[name] && !isDeepStrictEqual(inside.info[name], isolated.info[name]))
    const ran = own.filter((name) => inside.results.has(name))
    const differing = unequal.map(([name]) => name).filter((name) => ran.includes(name))
    const unsteady = differing.filter((name) => !isDeepStrictEqual(inside.results.get(name), again.get(name)))
    const unlike = differing.filter((name) => !unsteady.includes(name))
    const good = ran.filter((name) => (inside.results.get(name) as { end?: string }).end === 'execution_success').length
    console.log(`${pack}: ${own.length} node types, ${missing.length} missing, ${more.length} more; object_info differs for ${differ.length}; ${ran.length} nodes run (${good} to success), ${unlike.length} differ, ${unsteady.length} more differ between two runs inside too`)
    if (unsteady.length > 0) console.log(`  differ by themselves: ${unsteady.join(', ')}`)
    for (const name of missing) console.log(`  missing: ${name}`)
    for (const name of more) console.log(`  more: ${name}`)
    for (const name of differ) console.log(`  object_info of ${name}:\n${beside(inside.info[name], isolated.info[name])}`)
    for (const name of unlike) console.log(`  result of ${name}:\n${beside(inside.results.get(name), isolated.results.get(name))}`)
  }
} finally {
  undo()
}
