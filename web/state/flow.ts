import type { EnvCombination, InstallPlan } from '../../schemas/env'
import type { PackNodes } from '../../schemas/pack'

/** What to install, and into what: a combination for a sealed env, null for an overlay, absent: the kind that it has. */
export interface Choice {
  pack: string
  combination?: EnvCombination | null
  in_place?: boolean
}

export interface Planned {
  choice: Choice
  plan: InstallPlan
}

/** What the panel is asking the user, if anything. One question at a time. */
export type Flow =
  | { step: 'idle' }
  | { step: 'planning'; choices: Choice[]; done: number; isolate: boolean }
  | { step: 'confirm'; planned: Planned[]; failed: { pack: string; message: string }[]; isolate: boolean }
  | { step: 'isolate'; pack: string; found: PackNodes }
  | { step: 'ask'; title: string; message: string; action: string; danger: boolean; items: string[] }

type Confirm = Flow & { step: 'confirm' }

/** The next plan has come, or failed to. */
export function planned(flow: Confirm, choice: Choice, answer: { result: InstallPlan } | { message: string }): Confirm {
  if ('result' in answer) return { ...flow, planned: [...flow.planned, { choice, plan: answer.result }] }
  return { ...flow, failed: [...flow.failed, { pack: choice.pack, message: answer.message }] }
}

/** Whether any of the plans touches ComfyUI's torch: a confirmation of its own is needed then. */
export const changesTorch = (all: Planned[]): boolean => all.some(({ plan }) => plan.torch_changes)

/** Bytes of all plans together; null where one does not know. */
export function downloadBytes(all: Planned[]): number | null {
  return all.reduce<number | null>((sum, { plan }) => (sum === null || plan.download_bytes === null ? null : sum + plan.download_bytes), 0)
}

/** Where files come from, each host once. */
export const hostsOf = (all: Planned[]): string[] => [...new Set(all.flatMap(({ plan }) => plan.hosts))].sort()
