import type { Snapshot, StateEvent } from '../../schemas/panelLink'

const put = <T extends { id: string }>(list: T[], item: T): T[] => {
  const at = list.findIndex(({ id }) => id === item.id)
  return at < 0 ? [...list, item] : list.with(at, item)
}

const without = <T extends { id: string }>(list: T[], gone: string): T[] => list.filter(({ id }) => id !== gone)

/** The state after an event; null if an event is missing before it, so that a new snapshot is needed. */
export function reduce(state: Snapshot, event: StateEvent): Snapshot | null {
  if (event.seq <= state.seq) return state
  if (event.seq !== state.seq + 1) return null
  const next = { ...state, seq: event.seq }
  switch (event.kind) {
    case 'host':
      return { ...next, host: { ...event.host, writable: state.host.writable } }
    case 'pack':
      return { ...next, packs: put(state.packs, event.pack) }
    case 'pack_gone':
      return { ...next, packs: without(state.packs, event.id) }
    case 'env':
      return { ...next, envs: put(state.envs, event.env) }
    case 'env_gone':
      return { ...next, envs: without(state.envs, event.id) }
    case 'job':
      return { ...next, jobs: put(state.jobs, event.job) }
    case 'worker':
      return { ...next, workers: put(state.workers, event.worker) }
  }
}
