import type { Month } from './month.ts'
import { isSound, type MonthPack } from './monthPacks.ts'
import { Side } from './monthSide.ts'
import { bridgePid } from './comfy.ts'
import { isAlive, until } from './processes.ts'

/** Something that may happen in a month. */
interface Event {
  /** How often, against the others. */
  weight: number
  /** With what it can happen now, each beginning with the pack that it is about, if it is about one. */
  ways: (month: Month) => string[][]
  /** Returns whether a ComfyUI has started. */
  happens: (month: Month, ...way: string[]) => Promise<boolean>
}

const HOW = ['live', 'cold']
const packsThat = (is: (pack: MonthPack, month: Month) => boolean) => (month: Month): string[][] => month.packs.filter((pack) => is(pack, month)).map(({ prefix }) => [prefix])
const eachWith = (ways: string[][], more: string[]): string[][] => ways.flatMap((way) => more.map((one) => [...way, one]))

/** An event that changes the files of a pack. */
const fileEvent = (weight: number, is: (pack: MonthPack) => boolean, change: (pack: MonthPack) => void): Event => ({
  weight,
  ways: (month) => eachWith(packsThat(is)(month), HOW),
  happens: async (month, prefix = '', how = '') => {
    await month.change(prefix, how, change)
    return how === 'cold'
  },
})

const UPDATES: Record<string, (pack: MonthPack) => void> = {
  class: (pack) => (pack.hasExtra = !pack.hasExtra),
  optional: (pack) => (pack.hasOptional = !pack.hasOptional),
  needed: (pack) => (pack.hasNeeded = !pack.hasNeeded),
  standard: (pack) => (pack.standard = (pack.standard % 9) + 1),
  web: (pack) => (pack.web = pack.web === 'web' ? 'js' : 'web'),
  result: () => undefined,
}

const is = (presence: MonthPack['presence']) => (pack: MonthPack): boolean => pack.presence === presence
const restart = (signal: NodeJS.Signals, before: (month: Month) => Promise<void> = () => Promise.resolve()): Event => ({
  weight: 2,
  ways: () => [[]],
  happens: async (month) => {
    await month.stopComfy(signal)
    await before(month)
    await month.startComfy()
    return true
  },
})

/** What happens to a pack's worker, if it has one. */
const workerEvent = (happens: (month: Month, prefix: string, folder: string) => Promise<unknown>): Event => ({
  weight: 2,
  ways: packsThat((pack, month) => isSound(pack) && month.isChosen(pack.prefix)),
  happens: async (month, prefix = '') => {
    await happens(month, prefix, month.pack(prefix).folder)
    return false
  },
})

async function workerOf({ side }: Month, folder: string): Promise<number | null> {
  return (await side.panel.snapshot()).workers.find(({ packs }) => packs.includes(folder))?.pid ?? null
}

/** In so little time every worker has been idle for too long. */
const AT_ONCE = 0.0001

export const EVENTS: Record<string, Event> = {
  update: {
    weight: 10,
    ways: (month) => eachWith(eachWith(packsThat(is('there'))(month), Object.keys(UPDATES)), HOW),
    happens: async (month, prefix = '', what = '', how = '') => {
      await month.change(prefix, how, UPDATES[what] ?? (() => undefined))
      return how === 'cold'
    },
  },
  break: fileEvent(3, isSound, (pack) => (pack.isBroken = true)),
  mend: fileEvent(6, ({ presence, isBroken }) => presence === 'there' && isBroken, (pack) => (pack.isBroken = false)),
  rename: fileEvent(2, is('there'), (pack) => (pack.folder = pack.folder.endsWith('-new') ? pack.folder.slice(0, -4) : `${pack.folder}-new`)),
  remove: fileEvent(2, is('there'), (pack) => (pack.presence = 'removed')),
  add: fileEvent(6, is('removed'), (pack) => (pack.presence = 'there')),
  disable: fileEvent(2, is('there'), (pack) => (pack.presence = 'disabled')),
  enable: fileEvent(6, is('disabled'), (pack) => (pack.presence = 'there')),
  restart: restart('SIGINT'),
  'kill-comfyui': restart('SIGKILL'),
  'swap-comfyui': restart('SIGINT', (month) => month.swap('host')),
  'swap-ours': restart('SIGINT', (month) => month.swap('product')),
  'stop-worker': workerEvent(async (month, prefix, folder) => {
    if ((await workerOf(month, folder)) === null) return
    await month.side.panel.call('worker.stop', { worker: `${folder}#1` })
    month.kills.delete(folder)
    month.side.workerEnded(prefix)
  }),
  'kill-worker': workerEvent(async (month, prefix, folder) => {
    const pid = await workerOf(month, folder)
    if (pid === null) return
    process.kill(pid, 'SIGKILL')
    month.kills.set(folder, (month.kills.get(folder) ?? 0) + 1)
    month.side.workerEnded(prefix)
  }),
  idle: {
    weight: 2,
    ways: (month) => (month.isSettingsBroken ? [] : [[]]),
    happens: async (month) => {
      const { panel } = month.side
      await panel.call('settings.set', { idle_minutes: AT_ONCE })
      await panel.until(({ workers }) => workers.every(({ pid }) => pid === null), 'idle workers to end', 60_000)
      await panel.call('settings.set', { idle_minutes: 30 })
      for (const { prefix } of month.packs) month.side.workerEnded(prefix)
      return false
    },
  },
  'kill-bridge': {
    weight: 2,
    ways: packsThat(() => true),
    happens: async (month, prefix = '') => {
      const { comfy } = month.side
      const bridge = bridgePid(month.home, comfy.process.pid)
      if (bridge === null) throw new Error('no bridge')
      process.kill(bridge, 'SIGKILL')
      await until('the bridge to end', () => !isAlive(bridge))
      for (const each of month.packs) month.side.workerEnded(each.prefix)
      month.kills.clear()
      await month.side.check(prefix)
      await month.side.reconnect()
      return false
    },
  },
  second: {
    weight: 3,
    ways: (month) => eachWith(packsThat(isSound)(month), ['SIGINT', 'SIGKILL']),
    happens: async (month, prefix = '', signal = '') => {
      const database = ['--database-url', `sqlite:///${month.base}/user/second.db`]
      const second = await Side.start(month, { ...month.options, args: month.side.comfy.real ? database : [] })
      try {
        await second.check(prefix)
        if (month.isSettingsBroken) return false
        const on = !month.isChosen(prefix)
        await month.choose(prefix, on, second)
        if (month.isChosen(prefix) !== on) return false // it could not be done, and that was said
        const { folder } = month.pack(prefix)
        await month.side.panel.until(({ packs }) => packs.some(({ id, isolation }) => id === folder && (isolation.state === 'off') === !on && isolation.state !== 'starting'), `the other ComfyUI to see ${folder}`)
        month.side.switched(prefix, on)
        await second.check(prefix)
      } finally {
        await second.end(signal as NodeJS.Signals)
      }
      return false
    },
  },
  settings: {
    weight: 2,
    ways: ({ settings }) => (settings === 'broken' ? [['valid']] : [['valid'], ['unknown'], ['broken']]),
    happens: (month, kind = '') => {
      month.writeSettings(kind as 'valid' | 'unknown' | 'broken')
      for (const { prefix } of month.packs) month.side.disturbed(prefix)
      return Promise.resolve(false)
    },
  },
  switch: {
    weight: 5,
    ways: packsThat(() => true),
    happens: async (month, prefix = '') => {
      await month.choose(prefix, !month.isChosen(prefix))
      return false
    },
  },
  install: {
    weight: 2,
    ways: (month) => packsThat((pack) => pack.wants !== null && isSound(pack) && pack.folder === 'three' && !month.isSettingsBroken)(month),
    happens: async (month, prefix = '') => {
      await month.change(prefix, 'live', (pack) => (pack.wants = pack.wants === '1.0' ? '2.0' : '1.0'))
      await month.install()
      return false
    },
  },
  undo: {
    weight: 2,
    ways: (month) => packsThat((pack) => isSound(pack) && pack.folder === 'three' && month.installed.length > 1 && !month.isSettingsBroken)(month),
    happens: async (month, prefix = '') => {
      await month.side.panel.call('install.undo', { env: month.pack(prefix).folder })
      month.installed.pop()
      await month.note()
      month.side.workerEnded(prefix)
      return false
    },
  },
}

/** The next event, as a line: its name, and with what. */
export function drawn(month: Month): string {
  const can = Object.entries(EVENTS).map(([name, { weight, ways }]) => ({ name, weight, ways: ways(month) })).filter(({ ways }) => ways.length > 0)
  let at = month.random(can.reduce((sum, { weight }) => sum + weight, 0))
  for (const { name, weight, ways } of can) {
    at -= weight
    if (at < 0) return [name, ...(ways[month.random(ways.length)] ?? [])].join(' ')
  }
  throw new Error('nothing can happen')
}

/** Does it, and looks whether all is as it must be. */
export async function happen(month: Month, line: string): Promise<void> {
  month.done.push(line)
  const [name = '', ...way] = line.split(' ')
  const event = EVENTS[name]
  if (!event) throw new Error(`there is no event ${name}`)
  const hasStarted = await event.happens(month, ...way)
  const about = month.packs.find(({ prefix }) => prefix === way[0])
  await month.check(about?.prefix ?? month.packs[month.done.length % month.packs.length]?.prefix ?? '', hasStarted)
}
