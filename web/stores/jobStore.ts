import { defineStore } from 'pinia'
import { computed } from 'vue'
import type { JobInfo } from '../../schemas/job'
import type { Choice } from '../state/flow'
import { useBridgeStore } from './bridgeStore'
import { useLogStore } from './logStore'

/** What is done to jobs, at one click: each can be undone, or ends as it began. */
export const useJobStore = defineStore('envmanager-jobs', () => {
  const bridge = useBridgeStore()
  const log = useLogStore()

  /** The latest job of each pack. */
  const ofPack = computed(() => new Map<string, JobInfo>((bridge.state?.jobs ?? []).map((job) => [job.pack, job])))

  /** Brings a job's or a worker's log to the front. */
  const showLog = (id: string | undefined): void => {
    if (id === undefined) return
    void log.select(id)
    bridge.hostActions()?.showLog()
  }
  /** Starts installs, and returns the first job. Where another tab was quicker since `known` (latest jobs by pack), its job counts. */
  const install = async (choices: Choice[], known: ReadonlyMap<string, string | undefined>, isolate: boolean): Promise<string | undefined> => {
    let first: string | undefined
    for (const choice of choices) {
      const after = known.get(choice.pack) ?? null
      const started = await bridge.ask('install.start', { ...choice, isolate: isolate && !choice.in_place, after })
      first ??= started?.job
    }
    return first
  }
  const repair = async (env: string): Promise<void> => showLog((await bridge.ask('env.repair', { env }))?.job)
  const retry = async (job: string): Promise<void> => showLog((await bridge.ask('job.retry', { job }))?.job)
  const undo = (env: string): Promise<unknown> => bridge.ask('install.undo', { env })
  const forget = (pack: string): Promise<unknown> => bridge.ask('pack.forget', { pack })
  const cancel = (job: string): Promise<unknown> => bridge.ask('job.cancel', { job })

  return { ofPack, showLog, install, repair, retry, undo, forget, cancel }
})
