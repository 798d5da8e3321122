import { toWire } from '../errors/bridgeError'
import type { Context } from './context'

type Told = Pick<Context, 'store' | 'problems' | 'journal'>

/** What a user should know and nobody waits for: in the journal each time, in the panel once. */
export function showProblem({ store, problems, journal }: Told, problem: string): void {
  journal.write('bridge', { pid: process.pid, status: problem })
  if (problems.includes(problem)) return
  problems.push(problem)
  store.apply({ kind: 'host', host: { ...store.host, problems: [...store.host.problems, problem] } })
}

/** Shows what is wrong with something now, in place of what was wrong with it before; `fault` null: nothing is any more. `what` begins each of these sentences. */
export function settleProblem(told: Told, what: string, fault: string | null): void {
  const { store, problems } = told
  const now = fault === null ? null : `${what}: ${fault}`
  const isOver = (text: string): boolean => text.startsWith(`${what}: `) && text !== now
  if (problems.some(isOver)) {
    problems.splice(0, problems.length, ...problems.filter((text) => !isOver(text)))
    store.apply({ kind: 'host', host: { ...store.host, problems: store.host.problems.filter((text) => !isOver(text)) } })
  }
  if (now !== null && !problems.includes(now)) showProblem(told, now)
}

/** Work that nobody awaits. What goes wrong with it is told, and the bridge goes on: a rejection that nobody takes would end it. */
export function background(context: Told, what: string, work: Promise<unknown>): void {
  work.catch((error: unknown) => showProblem(context, `${what}: ${toWire(error).message}`))
}
