import { defineStore } from 'pinia'
import { ref, shallowRef } from 'vue'
import type { LogLine } from '../../schemas/job'
import { useBridgeStore } from './bridgeStore'

const KEPT = 'comfyui-envmanager.log'

/** The log that is shown: its lines, without a gap or a double, whichever way they came. */
export const useLogStore = defineStore('envmanager-log', () => {
  const bridge = useBridgeStore()
  const selected = ref<string | null>(sessionStorage.getItem(KEPT))
  const lines = shallowRef<LogLine[]>([])
  let loading: Promise<void> | null = null

  const last = (): number => lines.value.at(-1)?.seq ?? 0

  /** Adds lines that follow the last one; false if one between is missing. */
  const append = (more: LogLine[]): boolean => {
    const fresh = more.filter(({ seq }) => seq > last())
    if (fresh.length === 0) return true
    if (fresh[0]?.seq !== last() + 1) return false
    lines.value = [...lines.value, ...fresh]
    return true
  }

  const load = async (): Promise<void> => {
    const log = selected.value
    if (log === null) return
    const page = await bridge.ask('log.read', { log, after: last() })
    if (!page || log !== selected.value) return
    append(page.lines)
    if (page.more) await load()
  }

  /** Fetches what is missing; one fetch at a time. */
  const catchUp = (): Promise<void> => (loading ??= load().finally(() => (loading = null)))

  const select = async (log: string | null): Promise<void> => {
    selected.value = log
    if (log === null) sessionStorage.removeItem(KEPT)
    else sessionStorage.setItem(KEPT, log)
    await loading
    lines.value = []
    await catchUp()
  }

  bridge.listen((log, more) => {
    if (log === selected.value && !append(more)) void catchUp()
  })

  return { selected, lines, select, catchUp }
})
