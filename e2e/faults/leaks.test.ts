/**
 * What goes wrong again and again leaves nothing behind: descriptors, shared memory, processes, threads and memory of ComfyUI, bridge
 * and workers are the same after a tenth of the rounds and after all of them. `LEAKS=1`: the full numbers; else a twentieth of them.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { bridgePid } from '../support/comfy.ts'
import { figure, Subject } from '../support/faults.ts'
import { type Held, heldBy, processesBelow } from '../support/held.ts'
import { PanelClient } from '../support/panelClient.ts'
import { isAlive, until } from '../support/processes.ts'
import { cancelled, finished, forgetHistory, forgetResults, type Outcome, type Prompt, queue, run } from '../support/prompts.ts'

const ALL = process.env.LEAKS === '1'
const rounds = (full: number): number => (ALL ? full : full / 20)
const PATIENT = { timeout: ALL ? 3 * 3_600_000 : 600_000 }

/** What may be more without being a leak. */
const MORE: Held = {
  sockets: 2, // one connection that waits for its next prompt, at ComfyUI's end or at the other
  segments: 0,
  mapped: 0,
  others: 4, // of a pool of threads that is filled when it is needed
  threads: 6, // pools of Python, Node and torch, for the same reason
  memory: 32, // MiB; Node collects its garbage late
}
/** Segments and mappings are kept half a minute for the next call (`segments.py`, `mapping.py`), and looked for now and then. */
const KEPT_MS = 60_000

const PACKS = ['sequence-nodes', 'trouble-maker'] as const
let turn = 0
const node = (name: string, inputs: Record<string, unknown>): Prompt[string] => ({ class_type: `SequenceNodes${name}`, inputs: { ...inputs, turn: ++turn } })
const made = (): Prompt[string] => node('Make', { kind: 'tensor', size: 1 << 20, seed: 1 })
const show = (value: string): Prompt[string] => node('Show', { value: [value, 0] })
const image = { class_type: 'EmptyImage', inputs: { width: 256, height: 256, batch_size: 1, color: 0 } }

/** An object that stays in its worker, and a node that is given it. */
const kept = (): Prompt => ({ '8': node('Object', { seed: 1 }), '9': node('Next', { thing: ['8', 0] }), '10': node('Use', { thing: ['9', 0] }), '11': show('10') })
const good = (): Prompt => ({ '1': made(), '2': node('Add', { value: ['1', 0], number: 1 }), '3': show('2'), '4': image, '5': trouble(0.001), '6': preview, ...kept() })
const preview = { class_type: 'PreviewImage', inputs: { images: ['5', 0] } }
const trouble = (seconds: number): Prompt[string] => ({ class_type: 'TroubleSleep', inputs: { image: ['4', 0], seconds: seconds + ++turn / 1e6 } })
const sleeping = (polite: boolean): Prompt => ({ '1': made(), '2': node('Sleep', { value: ['1', 0], seconds: 60, polite }), '3': show('2'), ...kept() })
/** One node fails while one of another pack runs. */
const failing = (): Prompt => ({ '1': made(), '2': node('Sleep', { value: ['1', 0], seconds: 0.05, polite: true }), '3': node('Fail', { value: ['2', 0] }), '7': show('3'), '4': image, '5': trouble(0.2), '6': preview, ...kept() })

async function start(env: Record<string, string> = {}): Promise<Subject> {
  const subject = await Subject.start(PACKS[0], env, [PACKS[1]])
  await subject.panel.until(({ packs }) => packs.some(({ id, state }) => id === PACKS[1] && state === 'ready'), PACKS[1])
  await subject.panel.call('isolation.set', { pack: PACKS[1], on: true })
  await subject.panel.call('isolation.set', { pack: PACKS[0], class: 'SequenceNodesUsage', on: false })
  return subject
}

/** Throws if a good prompt does not end well. */
async function works({ comfy }: Subject): Promise<void> {
  const { end, error } = await run(comfy.url, good())
  if (end !== 'execution_success') throw new Error(`a good prompt ended with ${end}: ${error.exception_message}`)
}

/** What the processes of a ComfyUI hold, each, and what ComfyUI and the worker of the first pack have leased, lent and kept, by their own account. */
interface Look {
  held: Record<string, Held>
  accounts: Record<string, Record<string, number>>
  processes: number
}

/** What ComfyUI and the worker hold by their own account, once that is nothing, or does not get there soon. */
async function accounts(subject: Subject): Promise<Look['accounts']> {
  for (const end = Date.now() + 10_000; ; await pause(200)) {
    const said = await account(subject)
    const isHeld = Object.values(said).some((counts) => Object.values(counts).some((count) => count > 0))
    if (!isHeld || Date.now() > end) return said
  }
}

async function account({ comfy }: Subject): Promise<Look['accounts']> {
  const { end, error, outputs } = await run(comfy.url, { '1': node('Usage', {}), '2': node('UsageThere', {}) })
  if (end !== 'execution_success') throw new Error(`no account: ${error.exception_message}`)
  const said = (id: string): Record<string, number> => JSON.parse(String(outputs[id]?.text?.[0])) as Record<string, number>
  return { ComfyUI: said('1'), [`${PACKS[0]}#1`]: said('2') }
}

/** What each process holds. */
async function held({ comfy, panel }: Subject): Promise<Look['held']> {
  const { workers } = await panel.snapshot()
  const named: [string, number][] = [['ComfyUI', comfy.process.pid ?? 0], ['the bridge', bridgePid(comfy.home) ?? 0], ...workers.map(({ id, pid }): [string, number] => [id, pid ?? 0])]
  return Object.fromEntries(named.map(([name, pid]) => [name, heldBy(pid)]))
}

/**
 * Two good calls, so that all are up and warm; nothing kept by ComfyUI, and its garbage collected, as it does itself every ten seconds
 * (`main.py`): the nodes Usage do that. Then no calls, until nothing is kept for the next one.
 */
async function look(subject: Subject): Promise<Look> {
  const { comfy } = subject
  await works(subject)
  await works(subject)
  await forgetResults(comfy.url)
  await forgetHistory(comfy.url)
  const said = await accounts(subject)
  for (const end = Date.now() + KEPT_MS; ; await pause(1000)) {
    const now = await held(subject)
    const isKept = Object.values(now).some(({ segments, mapped }) => segments + mapped > 0)
    if (!isKept || Date.now() > end) return { held: now, accounts: said, processes: processesBelow(comfy.process.pid ?? 0).length }
  }
}

/** What is more than before, in words. By their own account nothing is held once nothing runs and ComfyUI keeps nothing. */
function grown(before: Look, now: Look): string[] {
  const found = Object.entries(now.held).flatMap(([name, held]) =>
    (Object.keys(MORE) as (keyof Held)[]).filter((kind) => held[kind] > (before.held[name]?.[kind] ?? 0) + MORE[kind]).map((kind) => `${name}: ${held[kind]} ${kind}, ${before.held[name]?.[kind]} before`),
  )
  for (const [name, account] of Object.entries(now.accounts)) found.push(...Object.entries(account).flatMap(([kind, count]) => (count > 0 ? [`${name}: ${count} ${kind}`] : [])))
  return now.processes > before.processes ? [...found, `${now.processes} processes, ${before.processes} before`] : found
}

/** Each figure before and after, in short. */
function compared(before: Look, now: Look): string {
  const each = Object.entries(now.held).map(([name, held]) => `${name}: ${(Object.keys(MORE) as (keyof Held)[]).map((kind) => `${kind} ${before.held[name]?.[kind]}→${held[kind]}`).join(', ')}`)
  return [...each, `processes ${before.processes}→${now.processes}`].join('; ')
}

/** A tenth of the rounds, a look, the others, another look: what has grown between both. */
async function growth(subject: Subject, number: number, full: number, round: (number: number) => Promise<void>): Promise<string[]> {
  const count = rounds(full)
  const first = Math.max(2, Math.round(count / 10))
  for (let at = 0; at < first; at++) await round(at)
  const before = await look(subject)
  for (let at = first; at < count; at++) await round(at)
  const now = await look(subject)
  figure(number, `${first} times → ${count} times: ${compared(before, now)}`)
  return grown(before, now)
}

describe.skipIf(process.platform !== 'linux')('what is left behind (skipped: counts by Linux’ /proc)', () => {
  describe('in one ComfyUI', () => {
    let subject: Subject
    beforeEach(async () => void (subject = await start()))
    afterEach(() => subject.end())

    /** How often the node has run that sleeps. */
    const runs = (): number => {
      const log = join(subject.comfy.base, 'output', 'runs.log')
      return existsSync(log) ? readFileSync(log, 'utf8').split('SequenceNodesSleep ').length : 0
    }

    /** Cancelled when the node runs, or at any moment before. */
    async function cancelledAt(number: number): Promise<Outcome> {
      const before = runs()
      const id = await queue(subject.comfy.url, sleeping(number % 10 !== 0))
      if (number % 3 !== 0) await until('a node to run', () => runs() > before)
      await pause(number % 7)
      return cancelled(subject.comfy.url, id)
    }

    test('67: cancelled again and again', PATIENT, async () => {
      expect(await growth(subject, 67, 1000, async (number) => expect((await cancelledAt(number)).end).toBe('execution_interrupted'))).toEqual([])
    })

    test('68: a node fails again and again while one of another pack runs', PATIENT, async () => {
      expect(await growth(subject, 68, 1000, async () => expect((await run(subject.comfy.url, failing())).error.exception_message).toBe('as asked'))).toEqual([])
    })

    test('69: a worker restarted again and again', PATIENT, async () => {
      const round = async (): Promise<void> => {
        await subject.panel.call('worker.restart', { worker: `${subject.pack}#1` })
        await works(subject)
      }
      expect(await growth(subject, 69, 200, round)).toEqual([])
    })

    test('70: a worker killed again and again, idle and in a call', PATIENT, async () => {
      const round = async (number: number): Promise<void> => {
        const before = runs()
        const id = number % 2 ? await queue(subject.comfy.url, sleeping(true)) : null
        if (id !== null) await until('a node to run', () => runs() > before)
        const { pid } = await subject.worker()
        process.kill(pid ?? 0, 'SIGKILL')
        const said = id === null ? 'idle' : (await finished(subject.comfy.url, id)).error.exception_message
        expect(said).toMatch(/^idle$|was ended by SIGKILL/)
        await subject.panel.until(({ workers }) => workers.every((one) => one.pid !== pid), 'its end')
        await subject.forgive()
        await works(subject)
      }
      expect(await growth(subject, 70, 200, round)).toEqual([])
    })
  })

  test('71: the bridge killed again and again', PATIENT, async () => {
    const subject = await start({ COMFY_ENV_BRIDGE_DEATHS: '1000' })
    const round = async (): Promise<void> => {
      const old = bridgePid(subject.comfy.home) ?? 0
      process.kill(old, 'SIGKILL')
      await until('a new bridge', () => !isAlive(old) && ![null, old].includes(bridgePid(subject.comfy.home)), 60_000)
      subject.panel.close()
      subject.panel = await PanelClient.connect(subject.comfy.url)
      await subject.panel.until(({ packs }) => PACKS.every((pack) => packs.some(({ id, isolation }) => id === pack && isolation.state === 'on')), 'the packs')
      await works(subject)
    }
    try {
      await works(subject)
      expect(await growth(subject, 71, 100, round)).toEqual([])
    } finally {
      await subject.end()
    }
  })
})
