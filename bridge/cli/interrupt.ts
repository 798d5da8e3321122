let controller: AbortController | null = null

/** Aborts on Ctrl-C, SIGTERM or the end of the terminal, so that a command ends in order with exit code 130. */
export function interruptSignal(): AbortSignal {
  if (!controller) {
    const made = new AbortController()
    // `on`, not `once`: a signal that nobody else listens to ends the process at once
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => made.abort())
    controller = made
  }
  return controller.signal
}
