import { shallowReactive } from 'vue'
import { en } from './en'

export type Texts = typeof en

/** Translations by locale, as ComfyUI names them (`Comfy.Locale`). A text that one lacks stays English. */
const locales: Record<string, Partial<Texts>> = {}
let current = 'en'

/** Every text of the panel, in the user's language. Components read it while they render, so a change shows at once. */
export const t: Texts = shallowReactive({ ...en })

/** Shows a language, or English where there is no translation into it. */
export function useLocale(name: string): void {
  current = name
  Object.assign(t, en, locales[name.split('-')[0] ?? ''], locales[name])
}

/** Offers a translation: `window.comfyEnvManager.addLocale('fr', { packs: 'Packs de nœuds', … })`, from any extension. */
export function addLocale(name: string, texts: Partial<Texts>): void {
  locales[name] = texts
  useLocale(current)
}
