import type { Snapshot } from '../../schemas/panelLink'
import { PACK_STATES } from '../../schemas/pack'

/** One metric in Prometheus' text format, version 0.0.4: its help, its kind, and a value for each set of labels. */
function metric(name: string, kind: 'gauge' | 'counter', help: string, values: [labels: Record<string, string>, value: number][]): string {
  const labelled = (labels: Record<string, string>): string => {
    const parts = Object.entries(labels).map(([key, value]) => `${key}="${value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`)
    return parts.length > 0 ? `{${parts.join(',')}}` : ''
  }
  const full = `comfy_env_${name}`
  return [`# HELP ${full} ${help}`, `# TYPE ${full} ${kind}`, ...values.map(([labels, value]) => `${full}${labelled(labels)} ${value}`)].join('\n')
}

/** The bridge's state for a server's monitoring. */
export function metricsText({ host, packs, envs, jobs, workers }: Snapshot): string {
  const ofWorker = (value: (worker: Snapshot['workers'][number]) => number | null | undefined): [Record<string, string>, number][] =>
    workers.flatMap((worker): [Record<string, string>, number][] => {
      const found = value(worker)
      return found === null || found === undefined ? [] : [[{ worker: worker.id }, found]]
    })
  const of = <T extends string>(states: readonly T[], stateOf: (state: T) => number): [Record<string, string>, number][] => states.map((state) => [{ state }, stateOf(state)])
  return `${[
    metric('info', 'gauge', 'Always 1; what runs.', [[{ version: host.version, comfyui: host.comfyui ?? '' }, 1]]),
    metric('packs', 'gauge', 'Node packs by state.', of(PACK_STATES, (state) => packs.filter((pack) => pack.state === state).length)),
    metric('packs_isolated', 'gauge', 'Node packs that run in a worker.', [[{}, packs.filter(({ isolation }) => isolation.state === 'on').length]]),
    metric('env_bytes', 'gauge', 'Size of each environment.', envs.map(({ id, bytes }) => [{ env: id }, bytes ?? 0])),
    metric('jobs', 'gauge', 'Jobs by state, since the bridge started.', of(['running', 'done', 'failed', 'cancelled'] as const, (state) => jobs.filter((job) => job.state.status === state).length)),
    metric('worker_up', 'gauge', '1 while a worker has a process.', ofWorker(({ pid }) => (pid === null ? 0 : 1))),
    metric('worker_stuck', 'gauge', '1 while a worker does not answer and does nothing.', ofWorker(({ health }) => (health === 'stuck' ? 1 : 0))),
    metric('worker_calls_total', 'counter', 'Calls of each worker.', ofWorker(({ calls }) => calls)),
    metric('worker_restarts_total', 'counter', 'Crashes of each worker.', ofWorker(({ restarts }) => restarts)),
    metric('worker_memory_bytes', 'gauge', 'Resident memory of each worker.', ofWorker(({ usage }) => usage?.memory_bytes)),
    metric('worker_vram_bytes', 'gauge', 'GPU memory of each worker.', ofWorker(({ usage }) => usage?.vram_bytes)),
    metric('worker_cpu_percent', 'gauge', 'CPU of each worker; 100 is one core.', ofWorker(({ usage }) => usage?.cpu_percent)),
  ].join('\n')}\n`
}
