import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { PROTOCOL_VERSION } from '../../schemas/envelope'
import type { HostFolders } from '../../schemas/shimLink'
import type { WorkerExit } from '../../schemas/worker'
import { bridgeToWorker, workerToBridge } from '../../schemas/workerLink'
import { BridgeError } from '../errors/bridgeError'
import { Peer } from '../rpc/peer'
import { oomKills } from './exit'
import { launchOf } from './launch'
import { WorkerProcess } from './process'
import { withWholeNames } from './sandbox'
import { makeOwnFolder } from './segmentsFolder'
import { TaskLink } from './taskLink'
import type { WorkerEvents, WorkerSpec } from './workerSpec'

const START_MS = 120_000

export type WorkerPeer = Peer<typeof workerToBridge, typeof bridgeToWorker>

/** A worker's process, with its links. */
export interface Running {
  /** Names the process in what it shares with others. */
  owner: string
  oomBefore: number | null
  /** Whether it has answered. */
  ready: boolean
  /** Where it takes calls from ComfyUI itself; null: nowhere. */
  socket: string | null
  /** How many objects it keeps for ComfyUI. */
  objects: number
  process: WorkerProcess
  peer: WorkerPeer
  tasks: TaskLink
}

/** Interrupts what the main thread runs, if that was cancelled. On Windows a signal is an end (Node, `process.kill`): there a message asks for it. */
export function interrupt(running: Pick<Running, 'process' | 'peer'>, platform = process.platform): void {
  if (platform === 'win32') running.peer.notify('worker.interrupt', {})
  else running.process.signal('SIGINT')
}

/** ComfyUI's folders as a worker is told of them. */
function foldersFor({ sandbox }: WorkerSpec, events: WorkerEvents): HostFolders | null {
  const folders = events.folders()
  return sandbox && folders ? withWholeNames(folders) : folders
}

/** Starts a process; `greet` waits for it. */
export function spawnWorker(
  spec: WorkerSpec,
  events: WorkerEvents,
  onOutput: (text: string) => void,
  onExit: (ended: Running, exit: Omit<WorkerExit, 'lines'>) => void,
): Running {
  const owner = randomBytes(6).toString('hex')
  if (spec.segments) makeOwnFolder(spec.segments, owner)
  const process: WorkerProcess = new WorkerProcess(launchOf(spec, owner, foldersFor(spec, events)), {
    onMessage: (text) => peer.receive(text),
    onAnswer: (header, body) => tasks.answered(header, body),
    onOutput,
    onExit: (exit) => onExit(running, exit),
  })
  const tasks = new TaskLink(owner, (data) => process.give(data), events.onReleased)
  const peer: WorkerPeer = new Peer((text) => process.send(text), workerToBridge, bridgeToWorker, { ...events.notes, 'handles.kept': ({ count }) => void (running.objects = count) })
  const running: Running = { owner, oomBefore: oomKills(), ready: false, socket: null, objects: 0, process, peer, tasks }
  return running
}

/** Tells a fresh process who it is, and waits until it answers. Ends it and rejects if it does not. */
export async function greet(running: Running, spec: WorkerSpec, events: WorkerEvents): Promise<void> {
  const { id: worker, socket, straight } = spec
  const { owner, process, tasks } = running
  const late = pause(START_MS, 'late', { ref: false })
  const calls = straight ? straight(owner) : null
  const hello = tasks.do({ hello: { protocol: PROTOCOL_VERSION, worker, folders: foldersFor(spec, events), socket: socket(owner), calls } })
  try {
    if ((await Promise.race([hello, late])) === 'late') {
      throw new BridgeError('WORKER_START_FAILED', `${worker} did not answer within ${START_MS / 1000} s.`)
    }
  } catch (error) {
    process.kill()
    await process.gone // until then it could still take what is meant for the next one
    throw error
  }
  running.ready = true
  running.socket = calls
}
