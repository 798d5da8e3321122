import { defineStore } from 'pinia'
import { computed } from 'vue'
import type { JobInfo } from '../../schemas/job'
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
  const repair = async (env: string): Promise<void> => showLog((await bridge.ask('env.repair', { env }))?.job)
  const retry = async (job: string): Promise<void> => showLog((await bridge.ask('job.retry', { job }))?.job)
  const undo = (env: string): Promise<unknown> => bridge.ask('install.undo', { env })
  const cancel = (job: string): Promise<unknown> => bridge.ask('job.cancel', { job })

  return { ofPack, showLog, repair, retry, undo, cancel }
})
