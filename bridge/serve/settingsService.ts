import { isDeepStrictEqual } from 'node:util'
import type { PanelSettings } from '../../schemas/care'
import { BridgeError } from '../errors/bridgeError'
import { sandboxPart } from '../settings'
import { panelPart, readSettingsFile, writeSettings } from '../settingsFile'
import type { Context } from './context'
import { panelSettings } from './hostInfo'

type Changed = { [K in keyof PanelSettings]?: PanelSettings[K] | undefined }

/** Changes settings: on disk, and in what runs. Workers that run already keep what they were started with. */
export async function changeSettings({ engine, store }: Context, changed: Changed): Promise<void> {
  const { settings } = engine
  const fixed = Object.keys(changed).find((name) => settings.fixed.includes(name))
  if (fixed) throw new BridgeError('BAD_REQUEST', `${fixed} is fixed by an environment variable.`, { hint: 'Unset the variable and restart ComfyUI.' })
  const given = Object.fromEntries(Object.entries(changed).filter(([, value]) => value !== undefined)) as Partial<PanelSettings>
  const next = { ...panelSettings(engine), ...given }
  await writeSettings(settings.home, given)
  use({ engine, store }, next)
}

/**
 * Takes over what another process or the user has written, but for what is fixed here. Of a file that cannot be read nothing is taken. Returns whether what
 * is isolated may start from now on, and could not before.
 */
export function followSettings(context: Followed): boolean {
  const { engine, segments } = context
  const { settings } = engine
  const { values, unknown, fault, sandboxFault } = readSettingsFile(settings.home)
  tellProblems(context, fault ? [`${settings.fault ? 'The settings are not known' : 'The settings are as they were before'}: ${fault.message}`] : unknown)
  if (fault) return false
  const before = panelSettings(engine)
  const next = Object.fromEntries(Object.entries(panelPart(values)).map(([name, value]) => [name, settings.fixed.includes(name) ? before[name as keyof PanelSettings] : value])) as PanelSettings
  if (!isDeepStrictEqual(before, next)) use(context, next)
  settings.fault = null
  if (!settings.sandboxFault || sandboxFault) return false
  settings.sandbox = sandboxPart(values)
  settings.sandboxFault = settings.sandbox.packs.length > 0 && segments === null ? new BridgeError('SANDBOX_UNAVAILABLE', 'settings.toml asks for a sandbox since ComfyUI has started.', { hint: 'Restart ComfyUI.' }) : null
  return settings.sandboxFault === null
}

type Followed = Pick<Context, 'engine' | 'store' | 'segments' | 'problems' | 'settingsProblems'>

/** What is wrong with the file now takes the place of what was. */
function tellProblems(context: Followed, now: string[]): void {
  const { store, problems, settingsProblems: before } = context
  if (isDeepStrictEqual(before, now)) return
  const others = (all: readonly string[]): string[] => all.filter((problem) => !before.includes(problem))
  problems.splice(0, problems.length, ...others(problems), ...now)
  context.settingsProblems = now
  store.apply({ kind: 'host', host: { ...store.host, problems: [...others(store.host.problems), ...now] } })
}

function use({ engine, store }: Pick<Context, 'engine' | 'store'>, next: PanelSettings): void {
  const { settings } = engine
  settings.offline = next.offline
  settings.registry = next.registry
  settings.workers = { perPack: next.workers_per_pack, share: next.share_workers, idleMinutes: next.idle_minutes, keepWarm: next.keep_warm, memoryGb: next.memory_gb }
  store.apply({ kind: 'host', host: { ...store.host, settings: panelSettings(engine) } })
}
