import { mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { startComfy } from './comfy.ts'
import { CHAIN, KINDS, type MonthPack, promptOf, writePack } from './monthPacks.ts'
import { finished, type Prompt } from './prompts.ts'

/** Where ComfyUI's code is: a test host's folder, or a real ComfyUI with its Python. */
export interface HostChoice {
  host?: string
  comfyui?: string
  python?: string
}

/** What became of a prompt. */
export interface Said {
  how: 'shown' | 'refused' | 'failed'
  /** What its last node shows, without where it ran; or why not. */
  text: string
  /** Where its last node ran, if it says so. */
  place: string | null
}

interface Refusal {
  error?: { type: string; message: string }
  node_errors?: Record<string, { errors: { type: string; details: string }[] }>
}

/** Runs a prompt whose node 2 shows something. */
export async function ask(url: string, prompt: Prompt): Promise<Said> {
  const response = await fetch(`${url}/api/prompt`, { method: 'POST', body: JSON.stringify({ prompt, client_id: 'tests' }) })
  const body = (await response.json()) as Refusal & { prompt_id: string }
  if (!response.ok) {
    const nodes = Object.entries(body.node_errors ?? {}).flatMap(([id, { errors }]) => errors.map(({ type, details }) => `node ${id}: ${type} ${details}`))
    return { how: 'refused', text: [`${body.error?.type}: ${body.error?.message}`, ...nodes].join('; '), place: null }
  }
  const { outputs, status, error } = await finished(url, body.prompt_id, 120_000)
  if (status === 'error') return { how: 'failed', text: `${error.exception_type}: ${error.exception_message}`, place: null }
  const [text, place] = String(outputs['2']?.text?.[0]).split(' @')
  return { how: 'shown', text: text ?? '', place: place ?? null }
}

/** What ComfyUI says of a class, as the canvas asks it. */
export async function describe(url: string, cls: string): Promise<string> {
  const all = (await (await fetch(`${url}/api/object_info`)).json()) as Record<string, unknown>
  return JSON.stringify(all[cls] ?? 'none')
}

/** What the browser gets of a pack's own files. */
export async function webFile(url: string, folder: string): Promise<string> {
  const response = await fetch(`${url}/extensions/${folder}/month.js`)
  return response.ok ? await response.text() : 'none'
}

/** All that must be as it is without us, by the prompt's kind and pack. */
export interface Expected {
  said: Record<string, Said>
  described: Record<string, string>
  web: Record<string, string>
}

export const keyOf = (kind: string, prefix: string): string => `${kind} of ${prefix}`

/** The pack that takes images of a pack: the next one. */
export const otherOf = (packs: readonly MonthPack[], prefix: string): string => packs[(packs.findIndex((pack) => pack.prefix === prefix) + 1) % packs.length]?.prefix ?? prefix

/** Asks a ComfyUI without us, just started, with the same files. `wheels`: archives on Python's path, in place of an environment. */
export async function expectedOf(choice: HostChoice, packs: readonly MonthPack[], wheels: string[]): Promise<Expected> {
  const base = mkdtempSync(join(tmpdir(), 'envmanager-plain-'))
  mkdirSync(join(base, 'custom_nodes'))
  for (const pack of packs) writePack(join(base, 'custom_nodes'), pack, 1_600_000_000)
  const comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], base, product: null, ...choice, env: wheels.length > 0 ? { PYTHONPATH: wheels.join(':') } : {} })
  try {
    const expected: Expected = { said: {}, described: {}, web: {} }
    for (const { prefix, folder } of packs) {
      for (const kind of KINDS) expected.said[keyOf(kind, prefix)] = await ask(comfy.url, promptOf(kind, prefix, kind === CHAIN ? otherOf(packs, prefix) : '', 0))
      for (const name of ['Main', 'Extra']) expected.described[`${prefix}${name}`] = await describe(comfy.url, `${prefix}${name}`)
      expected.web[prefix] = await webFile(comfy.url, folder)
    }
    return expected
  } finally {
    await comfy.stop()
    comfy.remove()
  }
}
