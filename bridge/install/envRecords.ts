import { join } from 'node:path'
import { EnvRecord } from '../../schemas/env'
import { BridgeError } from '../errors/bridgeError'
import { isFolder } from '../mark'
import { readState } from '../stateFile'
import { wholeGenerations } from './envFolders'

// What `envs/<id>/env.json` says, and whether it can be believed.

/** The record of the env in a folder. */
export const recordIn = (folder: string): string => join(folder, 'env.json')

export const isBroken = (error: unknown): boolean => error instanceof BridgeError && error.code === 'ENV_BROKEN'

/** An env's record as it is written; null: it has none. Throws NOT_OURS where it is another env's, FILE_UNREADABLE where it cannot be read. */
export async function writtenRecord(folder: string, id: string): Promise<EnvRecord | null> {
  const path = recordIn(folder)
  const record = (await readState(path, EnvRecord))?.value ?? null
  if (record === null || record.id === id) return record
  throw new BridgeError('NOT_OURS', `${path} is the record of another environment, \`${record.id}\`.`, { hint: 'Somebody has copied or renamed the folder: move it to another place.' })
}

/** Whether a generation is whole: it says so itself, in what is written into it last. What cannot be read now is not known to be otherwise. */
async function isWhole(folder: string, { id, generation }: EnvRecord): Promise<boolean> {
  try {
    const own = (await readState(join(folder, `gen-${generation}`, 'envmanager.json'), EnvRecord))?.value
    return own !== undefined && own.id === id && own.generation === generation
  } catch (error) {
    return !(error instanceof BridgeError) || error.details?.damaged !== true
  }
}

/**
 * An env's record; null: it has none. Throws ENV_BROKEN where it is damaged, or names no whole generation though there is one: it was put back from a backup, and
 * what it says of the others is of another time. Otherwise as `writtenRecord`.
 */
export async function readRecord(folder: string, id: string): Promise<EnvRecord | null> {
  const broken = async (message: string, cause?: unknown): Promise<BridgeError> => {
    const [whole] = await wholeGenerations(folder, id)
    const hint = whole ? `\`comfy-env repair ${id}\` builds it again from its newest whole state.` : `No whole state of it is left: delete ${folder}, then install the pack again.`
    return new BridgeError('ENV_BROKEN', message, { cause, hint })
  }
  try {
    const record = await writtenRecord(folder, id)
    if (record === null || (await isWhole(folder, record)) || (await wholeGenerations(folder, id)).length === 0) return record
    const now = await writtenRecord(folder, id)
    if (now?.generation !== record.generation) return await readRecord(folder, id) // another process has switched it meanwhile
    const name = `gen-${record.generation}`
    throw await broken(`${recordIn(folder)} names ${name}, which is ${isFolder(join(folder, name)) ? 'not whole' : 'not there'}.`)
  } catch (cause) {
    if (!(cause instanceof BridgeError) || cause.details?.damaged !== true) throw cause
    throw await broken(cause.message, cause)
  }
}
