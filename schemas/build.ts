/** Writes `schemas/json/*.schema.json` from zod. `scripts/python-types.mjs` makes the Python types from them. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { AnswerHeader, CallHeader, DoneHeader, TaskHeader } from './callLink'
import { ConnectionFile, StateFile } from './connection'
import { EnvRecord } from './env'
import { Envelope, type LinkSide } from './envelope'
import { bridgeToPanel, panelToBridge, ShimNotice } from './panelLink'
import { bridgeToShim, shimToBridge } from './shimLink'
import { TaggedValue } from './value'
import { bridgeToWorker, workerToBridge } from './workerLink'

const target = join(process.cwd(), 'schemas', 'json')

/** A side of a link as one schema, so that every message stands in one file. */
function sideSchema(side: LinkSide): z.ZodType {
  const shape: Record<string, z.ZodType> = {}
  for (const [name, { params, result }] of Object.entries(side.requests)) {
    shape[name] = z.strictObject({ params, result })
  }
  for (const [name, params] of Object.entries(side.notifications)) shape[name] = z.strictObject({ params })
  return z.strictObject(shape)
}

const documents: Record<string, z.ZodType> = {
  envelope: Envelope,
  value: TaggedValue,
  'call-path': z.strictObject({ call: CallHeader, answer: AnswerHeader, task: TaskHeader, done: DoneHeader }),
  'connection-file': ConnectionFile,
  'state-file': StateFile,
  'env-record': EnvRecord,
  'shim-notice': ShimNotice,
  'panel-to-bridge': sideSchema(panelToBridge),
  'bridge-to-panel': sideSchema(bridgeToPanel),
  'shim-to-bridge': sideSchema(shimToBridge),
  'bridge-to-shim': sideSchema(bridgeToShim),
  'bridge-to-worker': sideSchema(bridgeToWorker),
  'worker-to-bridge': sideSchema(workerToBridge),
}

// everything at once: what the Python types are made from
documents.protocol = z.strictObject(documents)

mkdirSync(target, { recursive: true })
for (const old of readdirSync(target)) rmSync(join(target, old))
for (const [name, schema] of Object.entries(documents)) {
  const json = z.toJSONSchema(schema, { io: 'input' })
  writeFileSync(join(target, `${name}.schema.json`), `${JSON.stringify({ title: name, ...json }, null, 2)}\n`)
}
