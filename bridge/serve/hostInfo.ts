import { statfs } from 'node:fs/promises'
import type { PanelSettings } from '../../schemas/care'
import type { HostInfo } from '../../schemas/panelLink'
import type { Engine } from '../engine'
import { oneLine } from '../probe/fingerprint'

/** The settings that the panel shows, as they stand. */
export function panelSettings({ settings }: Pick<Engine, 'settings'>): PanelSettings {
  const { offline, registry, workers } = settings
  const { perPack, share, idleMinutes, keepWarm, memoryGb } = workers
  return { offline, registry, workers_per_pack: perPack, share_workers: share, idle_minutes: idleMinutes, keep_warm: keepWarm, memory_gb: memoryGb }
}

/** What is known of the host without asking anything. */
export function plainHost(engine: Engine): HostInfo {
  const { fingerprint, settings } = engine
  return {
    fingerprint,
    one_line: oneLine(fingerprint),
    comfyui: null,
    home: settings.home,
    uv: null,
    writable: true,
    problems: [],
    version: __VERSION__,
    settings: panelSettings(engine),
    fixed: settings.fixed,
    checked: null,
    restart_needed: null,
    free_bytes: null,
  }
}

/** Free space where environments lie; null where the system does not tell. */
export async function freeBytes(home: string): Promise<number | null> {
  return statfs(home).then(({ bavail, bsize }) => bavail * bsize, () => null)
}

/** The same with what is wrong, `more` among it, uv asked for its version and the disk for its space. */
export async function hostInfo(engine: Engine, comfyui: string | null, more: readonly string[]): Promise<HostInfo> {
  const { fingerprint, uv, uvPath, settings } = engine
  const version = uvPath === null ? null : await uv.version().catch(() => null)
  const problems = [
    ...(version === null ? ['uv was not found, so nothing can be installed. Install it into ComfyUI’s Python: python -m pip install uv'] : []),
    ...(fingerprint.torch === null ? ['ComfyUI’s Python has no torch.'] : []),
    ...more,
  ]
  return { ...plainHost(engine), comfyui, uv: version, problems, free_bytes: await freeBytes(settings.home) }
}
