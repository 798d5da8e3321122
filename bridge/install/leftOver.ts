import { BridgeError } from '../errors/bridgeError'
import { endMarked } from '../marked'

/** Marks the processes of one change, and what these start. On Windows they end with the process that started them. */
export const CHANGE_MARK = 'COMFY_ENV_CHANGE'

/**
 * Ends what a killed process of ours has left running of a change: uv would write on while the change is undone. For who has the turn (`hostTurn.ts`). Throws ENV_BUSY
 * where it does not end.
 */
export async function endLeftOver(id: string): Promise<void> {
  if (await endMarked(CHANGE_MARK, id)) return
  throw new BridgeError('ENV_BUSY', 'The uv of a killed install still runs, and does not end.', { hint: 'It is undone once that process is gone.' })
}
