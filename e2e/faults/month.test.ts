/** A month of a user's changes, in a random order: after each, isolated nodes do as they would inside a ComfyUI without us, or a sentence says why not. */
import { expect, test } from 'vitest'
import { figure } from '../support/faults.ts'
import { Month } from '../support/month.ts'
import { drawn, happen } from '../support/monthEvents.ts'
import type { HostChoice } from '../support/monthPlain.ts'

/**
 * By which numbers, and how many events: `MONTH_SEED=7 MONTH_EVENTS=80 npm run faults`. `MONTH_STEPS='update One class live; restart'`: these events, to
 * find what a failure needs. With two real ComfyUIs: `COMFYUI_DIR`, `COMFYUI_PYTHON`, `MONTH_OTHER_DIR`, `MONTH_OTHER_PYTHON`.
 */
const SEEDS = process.env.MONTH_SEED ? [Number(process.env.MONTH_SEED)] : [1, 2, 3]
const EVENTS = Number(process.env.MONTH_EVENTS ?? 40)
const STEPS = process.env.MONTH_STEPS?.split(';').map((line) => line.trim()).filter(Boolean)

/** Null: the test host. */
function realHosts(): HostChoice[] | null {
  const { COMFYUI_DIR, COMFYUI_PYTHON = 'python3', MONTH_OTHER_DIR, MONTH_OTHER_PYTHON = COMFYUI_PYTHON } = process.env
  return COMFYUI_DIR ? [{ comfyui: COMFYUI_DIR, python: COMFYUI_PYTHON }, { comfyui: MONTH_OTHER_DIR ?? COMFYUI_DIR, python: MONTH_OTHER_PYTHON }] : null
}

test.each(SEEDS)(
  '73: a month of changes, seed %i: as inside, or a sentence',
  async (seed) => {
    const month = await Month.start(seed, realHosts())
    try {
      for (let count = 0; count < (STEPS?.length ?? EVENTS); count++) {
        const line = STEPS?.[count] ?? drawn(month)
        console.log(`${new Date().toISOString().slice(11, 19)} ${line}`)
        const fault = await happen(month, line).then(() => null, (error: Error) => error)
        if (fault) throw new Error(`seed ${seed}, event ${count + 1} (${line}): ${fault.message}\n${month.report()}`, { cause: fault })
      }
      expect(month.done).toHaveLength(STEPS?.length ?? EVENTS)
      figure(73, `seed ${seed}: ${month.done.length} events`)
    } finally {
      await month.end()
    }
  },
  3_600_000,
)
