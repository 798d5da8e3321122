import { defineStore } from 'pinia'
import { shallowRef } from 'vue'
import type { EnvOffer } from '../../schemas/wheel'
import { type Choice, type Flow, planned } from '../state/flow'
import { useBridgeStore } from './bridgeStore'
import { useBusy } from './busy'
import { useJobStore } from './jobStore'
import { useUiStore } from './uiStore'

/** What the panel asks the user before it changes something, and the change itself. */
export const useFlowStore = defineStore('envmanager-flow', () => {
  const bridge = useBridgeStore()
  const jobs = useJobStore()
  const ui = useUiStore()
  const flow = shallowRef<Flow>({ step: 'idle' })
  /** Combinations that were found for a pack, by its id. */
  const offers = shallowRef<ReadonlyMap<string, EnvOffer[]>>(new Map())
  const { busy, during } = useBusy()
  /** The latest job of each pack when its preview was asked for. */
  let known = new Map<string, string | undefined>()
  let answered: (agreed: boolean) => void = () => undefined

  const close = (): void => {
    flow.value = { step: 'idle' }
    answered(false)
  }

  /** Works out what an install would do, pack by pack, and asks. */
  const install = (choices: Choice[], isolate = true): Promise<void> =>
    during(choices.map(({ pack }) => pack), async () => {
      known = new Map(choices.map(({ pack }) => [pack, jobs.ofPack.get(pack)?.id]))
      let next: Flow & { step: 'confirm' } = { step: 'confirm', planned: [], failed: [], isolate }
      for (const [done, choice] of choices.entries()) {
        const mine: Flow = { step: 'planning', choices, done, isolate }
        flow.value = mine
        const answer = await bridge.tryAsk('install.preview', choice)
        if (flow.value !== mine) return // closed, or asked anew meanwhile
        next = planned(next, choice, answer)
      }
      flow.value = next
    })

  /** The user has agreed to what is shown. */
  const agreeInstall = async (isolate: boolean): Promise<void> => {
    if (flow.value.step !== 'confirm') return
    const choices = flow.value.planned.map(({ choice }) => choice)
    flow.value = { step: 'idle' }
    const first = await jobs.install(choices, known, isolate)
    ui.selected = new Set()
    if (choices.length > 1) ui.view = 'jobs'
    jobs.showLog(first)
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

  /** Whether a pack is one that is gone under another name. */
  const renamed = (pack: string, same: boolean): Promise<unknown> => during([pack], () => bridge.ask('pack.renamed', { pack, same }))

  const find = (pack: string): Promise<void> =>
    during([pack], async () => {
      const found = await bridge.ask('install.find', { pack })
      if (found) offers.value = new Map([...offers.value, [pack, found.offers]])
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

  return { flow, offers, busy, close, install, agreeInstall, isolate, agreeIsolation, renamed, find, confirm, agree }
})
