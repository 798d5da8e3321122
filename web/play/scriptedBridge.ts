import type { LogLine } from '../../schemas/job'
import type { ShimNotice, Snapshot } from '../../schemas/panelLink'
import { type Bridge, type BridgeEvents, CallError, type Method, type Params, type Result } from '../rpc/bridge'

/** Answers of a scene, by method; `never`: no answer comes. */
export type Answers = { [M in Method]?: (params: Params<M>) => Result<M> | 'never' }

export interface Script {
  snapshot: Snapshot
  answers?: Answers
  /** How the connection stands instead of being live. */
  notice?: ShimNotice['params'] | 'lost' | 'connecting'
  logs?: Record<string, LogLine[]>
}

const PAGE = 2000

function readLog(all: LogLine[], { after, before }: Params<'log.read'>): Result<'log.read'> {
  if (after !== undefined) {
    const lines = all.slice(after, after + PAGE)
    return { lines, more: after + lines.length < all.length }
  }
  const end = (before ?? all.length + 1) - 1
  return { lines: all.slice(Math.max(0, end - PAGE), end), more: end > PAGE }
}

/** A bridge that plays a scene: what it says is written down, nothing behind it runs. */
export function scriptedBridge({ snapshot, answers = {}, notice, logs = {} }: Script, events: BridgeEvents): Bridge {
  queueMicrotask(() => {
    if (notice === 'connecting') return
    if (typeof notice === 'object') return events.onNotice(notice)
    events.onOpen()
    if (notice === 'lost') setTimeout(events.onLost, 50)
  })
  const usual: Answers = {
    'state.snapshot': () => snapshot,
    'log.read': (params) => readLog(logs[params.log] ?? [], params),
    'host.changes': () => ({ changes: [] }),
  }
  return {
    call: async <M extends Method>(method: M, params: Params<M>): Promise<Result<M>> => {
      const answer = (answers[method] ?? usual[method]) as ((params: Params<M>) => Result<M> | 'never') | undefined
      if (!answer) throw new CallError('BAD_REQUEST', `This page plays a scene: “${method}” does nothing here.`, '')
      const given = answer(params)
      return given === 'never' ? new Promise(() => undefined) : (given as Result<M>)
    },
    close: () => undefined,
  }
}
