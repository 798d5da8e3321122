import { isDeepStrictEqual } from 'node:util'
import type { PanelSettings } from '../../schemas/care'
import { BridgeError } from '../errors/bridgeError'
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

/** Takes over what another process has written, but for what is fixed here. Of a file that cannot be read nothing is taken. */
export function followSettings({ engine, store }: Pick<Context, 'engine' | 'store'>): void {
  const { settings } = engine
  const { values, fault } = readSettingsFile(settings.home)
  if (fault) return
  const before = panelSettings(engine)
  const next = Object.fromEntries(Object.entries(panelPart(values)).map(([name, value]) => [name, settings.fixed.includes(name) ? before[name as keyof PanelSettings] : value])) as PanelSettings
  if (!isDeepStrictEqual(before, next)) use({ engine, store }, next)
}

function use({ engine, store }: Pick<Context, 'engine' | 'store'>, next: PanelSettings): void {
  const { settings } = engine
  settings.offline = next.offline
  settings.registry = next.registry
  settings.workers = { perPack: next.workers_per_pack, share: next.share_workers, idleMinutes: next.idle_minutes, keepWarm: next.keep_warm, memoryGb: next.memory_gb }
  store.apply({ kind: 'host', host: { ...store.host, settings: panelSettings(engine) } })
}
