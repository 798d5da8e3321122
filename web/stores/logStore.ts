import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'
import type { LogLine } from '../../schemas/job'
import { useBridgeStore } from './bridgeStore'

const KEPT = 'comfyui-envmanager.log'

/** The log that is shown: its lines, without a gap or a double, whichever way they came. The end comes first, what is before it follows. */
export const useLogStore = defineStore('envmanager-log', () => {
  const bridge = useBridgeStore()
  const selected = ref<string | null>(sessionStorage.getItem(KEPT))
  const lines = shallowRef<LogLine[]>([])
  /** A line to go to, as a link names it. */
  const wanted = ref<number | null>(null)
  /** Counts selections: what an earlier one still brings is for nobody. */
  let round = 0
  let filling: Promise<void> | null = null
  /** Lines have come that did not fit: there is more to fetch. */
  let behind = false

  const last = (): number => lines.value.at(-1)?.seq ?? 0
  /** Lines before the first one that is here. */
  const missing = computed(() => Math.max(0, (lines.value[0]?.seq ?? 1) - 1))

  /** Adds lines that follow the last one; false if one between is missing. */
  const append = (more: LogLine[]): boolean => {
    const fresh = more.filter(({ seq }) => seq > last())
    if (fresh.length === 0) return true
    if (fresh[0]?.seq !== last() + 1 && lines.value.length > 0) return false
    lines.value = [...lines.value, ...fresh]
    return true
  }

  /** The end of the log if nothing is here, else what came after the last line. */
  const fetchEnd = async (log: string, mine: number): Promise<void> => {
    const place = lines.value.length === 0 ? { before: null } : { after: last() }
    const page = await bridge.ask('log.read', { log, ...place })
    if (!page || mine !== round) return
    append(page.lines)
    if ('after' in place && page.more) await fetchEnd(log, mine)
  }

  /** Everything before what is here, page by page. */
  const fetchStart = async (log: string, mine: number): Promise<void> => {
    const older: LogLine[][] = []
    let first = lines.value[0]?.seq ?? 1
    while (first > 1) {
      const page = await bridge.ask('log.read', { log, before: first })
      if (!page || mine !== round || page.lines.length === 0) return
      older.unshift(page.lines)
      first = page.lines[0]?.seq ?? 1
    }
    if (older.length > 0) lines.value = [...older.flat(), ...lines.value]
  }

  /** Fetches what is missing at either end; one fetch at a time. */
  const catchUp = (): Promise<void> => {
    const log = selected.value
    if (log === null) return Promise.resolve()
    const mine = round
    const fetchAll = async (): Promise<void> => {
      behind = false
      await fetchEnd(log, mine)
      await fetchStart(log, mine)
      if (behind && mine === round) await fetchAll()
    }
    filling ??= fetchAll().finally(() => (filling = null))
    return filling
  }

  const select = async (log: string | null, line: number | null = null): Promise<void> => {
    wanted.value = line
    if (log === selected.value && lines.value.length > 0) return
    selected.value = log
    if (log === null) sessionStorage.removeItem(KEPT)
    else sessionStorage.setItem(KEPT, log)
    round++
    lines.value = []
    await filling
    await catchUp()
  }

  bridge.listen((log, more) => {
    if (log !== selected.value) return
    const fits = lines.value.length > 0 || more[0]?.seq === 1
    if (fits && append(more)) return
    behind = true
    void catchUp()
  })

  return { selected, lines, missing, wanted, select, catchUp }
})
