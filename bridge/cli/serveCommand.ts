import module from 'node:module'
import type { Engine } from '../engine'
import { BridgeError } from '../errors/bridgeError'
import { startBridge } from '../serve/compose'
import type { Output } from './output'

function portOf(text: string | undefined): number {
  const port = Number(text ?? '0')
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port
  throw new BridgeError('BAD_USAGE', `--port ${text} is not a port number.`)
}

const LOOK_FOR_PARENT_MS = 1000

/** Calls back when the process that started us has ended: we are somebody else's child then. Windows does not tell it so. */
function onOrphaned(ended: () => void): void {
  const parent = process.ppid
  setInterval(() => process.ppid !== parent && ended(), LOOK_FOR_PARENT_MS).unref()
}

/**
 * `comfy-env serve`: runs until it is told to stop. With `--parent`, the end of standard input is that word: the kernel gives it
 * when ComfyUI ends, in whatever way. A child that ComfyUI has forked may hold it open, so ComfyUI's own end counts as well.
 */
export async function serveCommand(port: string | undefined, parent: boolean, run: string | undefined, engine: Engine, output: Output): Promise<number> {
  const ended = new Promise<'abandoned' | 'asked'>((resolve) => {
    if (parent) onOrphaned(() => resolve('abandoned'))
    if (parent) for (const event of ['end', 'close', 'error']) process.stdin.resume().on(event, () => resolve('abandoned'))
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve('asked'))
  })
  const bridge = await startBridge(engine, portOf(port), run)
  const { protocol } = bridge
  output.result({ port: bridge.port, protocol, pid: process.pid }, () => `The bridge listens on 127.0.0.1:${bridge.port}.`)
  // what was compiled is kept for the next start, also if this one is killed
  setTimeout(() => module.flushCompileCache?.(), 1000).unref()
  const how = await ended
  // a worker that does not end is ended by the kernel when this process does
  const late = setTimeout(() => process.exit(0), 1500)
  await bridge.close(how === 'abandoned')
  clearTimeout(late)
  return 0
}
