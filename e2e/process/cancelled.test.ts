import { afterAll, beforeAll, expect, test } from 'vitest'
import { fault, Subject } from '../support/faults.ts'
import { cancelled, run } from '../support/prompts.ts'

let subject: Subject
beforeAll(async () => {
  subject = await Subject.start('fault-maker')
})
afterAll(() => subject.end())

test('a cancelled call that does not end: what is queued behind it runs in the next process, and that its process was ended is no crash', async () => {
  for (let round = 1; round <= 3; round++) {
    const { prompt, pid } = await subject.running(fault('FaultDeaf', { seconds: 60 + round }), 'deaf')
    const next = run(subject.comfy.url, fault('FaultEcho', { number: round, milliseconds: 0 }))
    expect((await cancelled(subject.comfy.url, prompt)).status).not.toBe('success')
    expect((await next).outputs['3']?.text?.[0]).toBe(`number ${round}`)
    expect(await subject.worker()).toMatchObject({ state: { status: expect.stringMatching(/ready|busy/) }, restarts: 0 })
    expect((await subject.worker()).pid).not.toBe(pid)
  }
})
