import { defineStore } from 'pinia'
import { ref, shallowRef } from 'vue'
import type { EnvOffer } from '../../schemas/wheel'
import { t } from '../i18n'
import { type Choice, type Flow, planned } from '../state/flow'
import { useBridgeStore } from './bridgeStore'
import { useLogStore } from './logStore'
import { useUiStore } from './uiStore'

/** What the panel asks the user before it changes something, and the change itself. */
export const useFlowStore = defineStore('envmanager-flow', () => {
  const bridge = useBridgeStore()
  const log = useLogStore()
  const ui = useUiStore()
  const flow = shallowRef<Flow>({ step: 'idle' })
  /** Combinations that were found for a pack, by its id. */
  const offers = shallowRef<Record<string, EnvOffer[]>>({})
  /** The packs that something is being worked out for. */
  const busy = ref(new Set<string>())
  let answered: (agreed: boolean) => void = () => undefined

  const close = (): void => {
    flow.value = { step: 'idle' }
    answered(false)
  }

  const during = async <R>(packs: string[], work: () => Promise<R>): Promise<R> => {
    busy.value = new Set([...busy.value, ...packs])
    try {
      return await work()
    } finally {
      busy.value = new Set([...busy.value].filter((pack) => !packs.includes(pack)))
    }
  }

  const showLog = (id: string | undefined): void => {
    if (id === undefined) return
    void log.select(id)
    bridge.hostActions()?.showLog()
  }

  /** Works out what an install would do, pack by pack, and asks. */
  const install = (choices: Choice[], isolate = true): Promise<void> =>
    during(choices.map(({ pack }) => pack), async () => {
      let next: Flow & { step: 'confirm' } = { step: 'confirm', planned: [], failed: [], isolate }
      flow.value = { step: 'planning', choices, done: 0, isolate }
      for (const [index, choice] of choices.entries()) {
        const answer = await bridge.tryAsk('install.preview', choice)
        const outcome = planned(flow.value, 'result' in answer ? { choice, plan: answer.result } : { pack: choice.pack, message: answer.message }, next)
        if (!outcome) return // closed meanwhile
        next = outcome
        if (index + 1 < choices.length) flow.value = { step: 'planning', choices, done: index + 1, isolate }
      }
      flow.value = next
    })

  /** The user has agreed to what is shown. */
  const agreeInstall = async (isolate: boolean): Promise<void> => {
    if (flow.value.step !== 'confirm') return
    const choices = flow.value.planned.map(({ choice }) => choice)
    flow.value = { step: 'idle' }
    let first: string | undefined
    for (const choice of choices) {
      const started = await bridge.ask('install.start', { ...choice, isolate: isolate && !choice.in_place })
      first ??= started?.job
    }
    ui.selected = new Set()
    if (choices.length > 1) ui.view = 'jobs'
    showLog(first)
  }

  /** The switch of a pack: off at once; on after saying what it takes. */
  const isolate = async (pack: string, on: boolean): Promise<void> => {
    const info = bridge.state?.packs.find(({ id }) => id === pack)
    if (!on) return void (await bridge.ask('isolation.set', { pack, on }))
    if (info && ['missing', 'conflict', 'failed'].includes(info.state) && !info.env) return install([{ pack }], true)
    const found = await during([pack], () => bridge.ask('pack.nodes', { pack }))
    if (found) flow.value = { step: 'isolate', pack, found }
  }

  const agreeIsolation = async (): Promise<void> => {
    if (flow.value.step !== 'isolate') return
    const { pack } = flow.value
    flow.value = { step: 'idle' }
    await during([pack], () => bridge.ask('isolation.set', { pack, on: true }))
  }

  const find = (pack: string): Promise<void> =>
    during([pack], async () => {
      const found = await bridge.ask('install.find', { pack })
      if (found) offers.value = { ...offers.value, [pack]: found.offers }
    })

  /** Asks a question with two answers. */
  const confirm = (question: Omit<Flow & { step: 'ask' }, 'step'>): Promise<boolean> =>
    new Promise((resolve) => {
      answered(false)
      answered = resolve
      flow.value = { step: 'ask', ...question }
    })

  const agree = (): void => {
    flow.value = { step: 'idle' }
    answered(true)
  }

  const repair = async (env: string): Promise<void> => showLog((await bridge.ask('env.repair', { env }))?.job)
  const retry = async (job: string): Promise<void> => showLog((await bridge.ask('job.retry', { job }))?.job)
  const undo = (env: string): Promise<unknown> => bridge.ask('install.undo', { env })
  const cancel = (job: string): Promise<unknown> => bridge.ask('job.cancel', { job })

  const removeEnv = async (env: string, freed: string): Promise<void> => {
    const agreed = await confirm({ title: t.removeTitle(env), message: t.removeMessage(freed), action: t.remove, danger: true, items: [] })
    if (agreed) await bridge.ask('env.delete', { env })
  }

  return { flow, offers, busy, close, install, agreeInstall, isolate, agreeIsolation, find, confirm, agree, repair, retry, undo, cancel, removeEnv, showLog }
})
