import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'
import type { JobInfo } from '../../schemas/job'
import type { Snapshot, StateEvent } from '../../schemas/panelLink'
import { en } from '../i18n/en'
import { type Bridge, type BridgeEvents, CallError, type Method, type Params, type Result } from '../rpc/bridge'
import { reduce } from '../state/reduce'

/** How the panel stands to its bridge. */
export type Connection =
  | { status: 'connecting' }
  | { status: 'starting'; message: string }
  | { status: 'failed'; message: string; hint: string }
  | { status: 'live' }
  | { status: 'lost' }

/** What the panel does to its host: tests put their own in place. */
export interface HostActions {
  confirm: (title: string, message: string, items: string[]) => Promise<boolean>
  toastError: (summary: string, detail: string) => void
  refreshNodes: () => void
  showLog: () => void
}

/** A projection of the bridge's state. Holds no truth of its own. */
export const useBridgeStore = defineStore('envmanager-bridge', () => {
  const connection = ref<Connection>({ status: 'connecting' })
  const state = shallowRef<Snapshot | null>(null)
  const linesOf = new Set<(log: string, lines: Parameters<BridgeEvents['onLines']>[1]) => void>()
  let bridge: Bridge | null = null
  let host: HostActions | null = null
  let early: StateEvent[] = []

  const take = (event: StateEvent): void => {
    if (!state.value) return void early.push(event)
    const next = reduce(state.value, event)
    if (next) state.value = next
    else void refetch()
  }

  const refetch = async (): Promise<void> => {
    state.value = null
    early = []
    try {
      state.value = (await bridge?.call('state.snapshot', {})) ?? null
      connection.value = { status: 'live' }
      early.splice(0).forEach(take)
    } catch {
      // the link is gone again: its end is told by onLost
    }
  }

  const events: BridgeEvents = {
    onOpen: () => void refetch(),
    onLost: () => {
      if (connection.value.status !== 'failed') connection.value = { status: 'lost' }
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

  /** Asks the bridge; an error is shown and comes back as null. */
  const ask = async <M extends Method>(method: M, params: Params<M>): Promise<Result<M> | null> => {
    try {
      return (await bridge?.call(method, params)) ?? null
    } catch (error) {
      const { message, hint } = error instanceof CallError ? error : { message: String(error), hint: '' }
      host?.toastError(en.failed, [message, hint].filter(Boolean).join(' '))
      return null
    }
  }

  const jobOf = computed(() => {
    const latest = new Map<string, JobInfo>()
    for (const job of state.value?.jobs ?? []) latest.set(job.pack, job)
    return latest
  })

  return {
    connection,
    state,
    jobOf,
    start,
    ask,
    hostActions: () => host,
    listen: (listener: (log: string, lines: Parameters<BridgeEvents['onLines']>[1]) => void) => {
      linesOf.add(listener)
      return () => linesOf.delete(listener)
    },
  }
})
