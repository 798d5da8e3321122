import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'
import type { PanelSettings } from '../../schemas/care'
import type { Snapshot, StateEvent } from '../../schemas/panelLink'
import { t } from '../i18n'
import { type Answer, answerOf, type Bridge, type BridgeEvents, type Method, type Params, type Result } from '../rpc/bridge'
import { harmless } from '../state/harmless'
import { reduce } from '../state/reduce'

/** How the panel stands to its bridge. */
export type Connection =
  | { status: 'connecting' }
  | { status: 'starting'; message: string }
  | { status: 'failed'; message: string; hint: string }
  | { status: 'live' }
  /** `since`: when it was last known how things are. */
  | { status: 'lost'; since: number }

/** What the panel does to its host: tests put their own in place. */
export interface HostActions {
  toastError: (summary: string, detail: string) => void
  refreshNodes: () => void
  showLog: () => void
  /** Settings have changed at the bridge: the host's own settings page shows them too. */
  settingsChanged: (settings: PanelSettings) => void
  copy: (text: string) => Promise<void>
}

/** A projection of the bridge's state. Holds no truth of its own. */
export const useBridgeStore = defineStore('envmanager-bridge', () => {
  const connection = ref<Connection>({ status: 'connecting' })
  const state = shallowRef<Snapshot | null>(null)
  const linesOf = new Set<(log: string, lines: Parameters<BridgeEvents['onLines']>[1]) => void>()
  let bridge: Bridge | null = null
  let host: HostActions | null = null
  let early: StateEvent[] = []
  /** A snapshot is on its way: what is shown meanwhile is the last one. */
  let fetching = false

  const take = (event: StateEvent): void => {
    if (fetching || !state.value) return void early.push(event)
    const next = reduce(state.value, harmless(event))
    if (next) state.value = next
    else void refetch()
    if (event.kind === 'host') host?.settingsChanged(event.host.settings)
  }

  const refetch = async (): Promise<void> => {
    fetching = true
    early = []
    try {
      state.value = harmless((await bridge?.call('state.snapshot', {})) ?? null)
      fetching = false
      connection.value = { status: 'live' }
      if (state.value) host?.settingsChanged(state.value.host.settings)
      early.splice(0).forEach(take)
    } catch {
      // the link is gone again: its end is told by onLost
    }
  }

  const events: BridgeEvents = {
    onOpen: () => void refetch(),
    onLost: () => {
      if (connection.value.status === 'live') connection.value = { status: 'lost', since: Date.now() }
    },
    onNotice: ({ status, message, hint }) => {
      if (status === 'failed') connection.value = { status, message, hint }
      else if (status === 'starting') connection.value = { status, message }
    },
    onState: take,
    onLines: (log, lines) => linesOf.forEach((listener) => listener(log, lines)),
    onNodesChanged: () => host?.refreshNodes(),
  }

  const start = (connect: (events: BridgeEvents) => Bridge, actions: HostActions): void => {
    host = actions
    bridge ??= connect(events)
  }

  /** Asks the bridge; an error comes back as its sentence and what to do. */
  const tryAsk = async <M extends Method>(method: M, params: Params<M>): Promise<Answer<M>> => {
    return bridge ? answerOf(bridge, method, params) : { message: t.connecting }
  }

  /** Asks the bridge; an error is shown and comes back as null. */
  const ask = async <M extends Method>(method: M, params: Params<M>): Promise<Result<M> | null> => {
    const answer = await tryAsk(method, params)
    if ('result' in answer) return answer.result
    host?.toastError(t.failed, answer.message)
    return null
  }

  const writable = computed(() => connection.value.status === 'live' && (state.value?.host.writable ?? false))

  return {
    connection,
    state,
    writable,
    start,
    ask,
    tryAsk,
    hostActions: () => host,
    listen: (listener: (log: string, lines: Parameters<BridgeEvents['onLines']>[1]) => void) => {
      linesOf.add(listener)
      return () => linesOf.delete(listener)
    },
  }
})
