import { defineStore } from 'pinia'
import { ref, watch } from 'vue'
import type { PackFilter, PackSort } from '../state/packList'

export const VIEWS = ['packs', 'envs', 'workers', 'jobs', 'care'] as const
export type View = (typeof VIEWS)[number]

const KEPT = 'comfyui-envmanager.view'
const isView = (name: string | null): name is View => VIEWS.some((view) => view === name)

/** What of the panel is open. It outlives the panel, which the host unmounts at each closing. */
export const useUiStore = defineStore('envmanager-ui', () => {
  const kept = sessionStorage.getItem(KEPT)
  const view = ref<View>(isView(kept) ? kept : 'packs')
  const search = ref('')
  const filter = ref<PackFilter>('all')
  const sort = ref<PackSort>('name')
  const selected = ref(new Set<string>())
  watch(view, (now) => sessionStorage.setItem(KEPT, now))

  const toggleSelected = (pack: string): void => {
    const next = new Set(selected.value)
    if (!next.delete(pack)) next.add(pack)
    selected.value = next
  }
  return { view, search, filter, sort, selected, toggleSelected }
})
