import type { z } from 'zod'
import type { LogLine } from '../../schemas/job'
import { bridgeToPanel, panelToBridge, type StateEvent } from '../../schemas/panelLink'
import { BridgeError } from '../errors/bridgeError'
import { Peer, type Handlers } from '../rpc/peer'
import type { Accept, Link } from '../rpc/server'
import { packFolder, type Context } from './context'
import type { IsolationService } from './isolationService'
import type { JobService } from './jobService'
import type { PackService } from './packService'
import type { WorkerService } from './workerService'

export interface PanelServices {
  context: Context
  packs: PackService
  jobs: JobService
  workers: WorkerService
  isolation: IsolationService
}

type Choice = z.infer<(typeof panelToBridge)['requests']['install.preview']['params']>

type PanelPeer = Peer<typeof panelToBridge, typeof bridgeToPanel>

/** Lines of a log go out together, at most this often. */
const LINES_MS = 50

/** The panels: what they may ask, and what they are told. */
export class PanelLinks {
  readonly #peers = new Set<PanelPeer>()
  readonly #lines = new Map<string, LogLine[]>()

  constructor(private readonly services: PanelServices) {}

  /** A viewer (a panel of a ComfyUI that listens beyond this machine) may look and not change. */
  accept(link: Link): Accept {
    const peer: PanelPeer = new Peer(link.send, panelToBridge, bridgeToPanel, this.#handlers(link.role !== 'viewer'))
    this.#peers.add(peer)
    return {
      onMessage: (text) => peer.receive(text),
      onClose: () => {
        this.#peers.delete(peer)
        peer.close(new BridgeError('CONNECTION_LOST', 'The panel has gone.'))
      },
    }
  }

  tell(event: StateEvent): void {
    this.#peers.forEach((peer) => peer.notify('state.changed', event))
  }

  nodesChanged(pack: string): void {
    this.#peers.forEach((peer) => peer.notify('nodes.changed', { pack }))
  }

  line(log: string, line: LogLine): void {
    const waiting = this.#lines.get(log)
    if (waiting) return void waiting.push(line)
    this.#lines.set(log, [line])
    setTimeout(() => {
      const lines = this.#lines.get(log) ?? []
      this.#lines.delete(log)
      for (let at = 0; at < lines.length; at += 500) {
        this.#peers.forEach((peer) => peer.notify('log.lines', { log, lines: lines.slice(at, at + 500) }))
      }
    }, LINES_MS)
  }

  #handlers(writable: boolean): Handlers<typeof panelToBridge> {
    const { context, packs, jobs, workers, isolation } = this.services
    const changing = <P, R>(act: (params: P) => Promise<R> | R) => (params: P): Promise<R> | R => {
      if (!writable) {
        throw new BridgeError('FORBIDDEN', 'ComfyUI listens beyond this computer, so the panel may look and not change.', {
          hint: `To allow it, create the file ${context.engine.settings.home}/allow-remote and restart ComfyUI.`,
        })
      }
      return act(params)
    }
    return {
      'state.snapshot': () => {
        const snapshot = context.store.snapshot()
        return { ...snapshot, host: { ...snapshot.host, writable } }
      },
      'packs.rescan': changing(async () => (await packs.rescan(), {})),
      'install.preview': changing(async ({ pack, combination }: Choice) => {
        const choice = combination === undefined ? {} : { combination }
        return (await context.engine.plan(await packFolder(context, pack), choice, () => undefined)).plan
      }),
      'install.find': changing(async ({ pack }: { pack: string }) => ({ offers: await context.engine.find(await packFolder(context, pack)) })),
      'install.start': changing(async ({ pack, combination }: Choice) => {
        const { dir } = await packFolder(context, pack)
        packs.setFailure(pack, null)
        packs.setInstalling(pack)
        return { job: jobs.start({ action: 'install', pack, dir, ...(combination !== undefined && { combination }) }) }
      }),
      'env.repair': changing(async ({ env }: { env: string }) => {
        const record = await context.engine.envs.read(env)
        if (!record) throw new BridgeError('UNKNOWN_ENV', `There is no environment ${env}.`)
        return { job: jobs.start({ action: 'repair', pack: record.pack, env }) }
      }),
      'install.undo': changing(async ({ env }: { env: string }) => {
        const record = await context.engine.envs.undo(env)
        await packs.rescan()
        await isolation.renew(record.pack)
        return {}
      }),
      'job.cancel': changing(({ job }: { job: string }) => (jobs.cancel(job), {})),
      'env.delete': changing(async ({ env }: { env: string }) => {
        const record = await context.engine.envs.read(env)
        if (!record) throw new BridgeError('UNKNOWN_ENV', `There is no environment ${env}.`)
        if (context.isolated.has(record.pack)) {
          throw new BridgeError('ENV_BUSY', `${record.pack} runs isolated in ${env}.`, { hint: 'Switch its isolation off first.' })
        }
        await workers.retire(record.pack)
        await context.engine.envs.remove(env)
        await packs.rescan()
        return {}
      }),
      'isolation.set': changing(async ({ pack, on }: { pack: string; on: boolean }) => (await isolation.set(pack, on), {})),
      'worker.stop': changing(async ({ worker }: { worker: string }) => (await workers.find(worker).stop(), {})),
      'log.read': ({ log, after }) => (log.startsWith('job-') ? jobs.log(log) : workers.log(log)).read(after),
    }
  }
}
