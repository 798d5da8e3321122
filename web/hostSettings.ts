import type { PanelSettings } from '../schemas/care'
import { t } from './i18n'

/** A setting as the host's own settings page takes it. */
export interface Setting {
  id: string
  name: string
  type: 'boolean' | 'number' | 'slider'
  defaultValue: boolean | number
  category: string[]
  attrs?: Record<string, number>
  onChange: (value: unknown) => void
}

type Shown = Exclude<keyof PanelSettings, 'keep_warm'>

const SHOWN: { name: Shown; type: Setting['type']; defaultValue: boolean | number; attrs?: Record<string, number> }[] = [
  { name: 'offline', type: 'boolean', defaultValue: false },
  { name: 'registry', type: 'boolean', defaultValue: true },
  { name: 'share_workers', type: 'boolean', defaultValue: false },
  { name: 'workers_per_pack', type: 'slider', defaultValue: 1, attrs: { min: 1, max: 16, step: 1 } },
  { name: 'idle_minutes', type: 'number', defaultValue: 10, attrs: { min: 0, max: 1440 } },
  { name: 'memory_gb', type: 'number', defaultValue: 0, attrs: { min: 0, max: 1000 } },
]

const idOf = (name: Shown): string => `EnvManager.${name}`

/** Our page in ComfyUI's settings. The truth is the bridge's; what ComfyUI keeps of it is a copy that is set right at each change. */
export function hostSettings(change: (changed: Partial<PanelSettings>) => void): { settings: Setting[]; show: (now: PanelSettings, set: (id: string, value: unknown) => void) => void } {
  let known: PanelSettings | null = null
  const settings = SHOWN.map(({ name, type, defaultValue, attrs }): Setting => ({
    id: idOf(name),
    name: t.settingNames[name],
    type,
    defaultValue,
    category: ['Env Manager', t.settings, name],
    ...(attrs && { attrs }),
    onChange: (value) => {
      // also called as ComfyUI loads, with what it kept: the bridge's word goes before that
      if (known && known[name] !== value) change({ [name]: value })
    },
  }))
  const show = (now: PanelSettings, set: (id: string, value: unknown) => void): void => {
    known = now
    for (const { name } of SHOWN) set(idOf(name), now[name])
  }
  return { settings, show }
}
