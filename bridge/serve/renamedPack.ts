import { BridgeError } from '../errors/bridgeError'
import { packFolder, saveChoice, savedChoices } from './context'
import { forgetGone, notTheSame } from './gonePacks'
import type { PanelServices } from './panelHandlers'

/** Forgets what was chosen for a pack that is gone. Throws BAD_REQUEST where it is not. */
export async function forgetPack({ context, packs, workers }: PanelServices, pack: string): Promise<void> {
  await packs.rescan()
  if (context.store.packs.get(pack)?.state !== 'gone') throw new BridgeError('BAD_REQUEST', `${pack} is not gone.`)
  await forgetGone(context, pack)
  await workers.retire(pack)
  await packs.rescan()
}

/** Its environment is built here from what it asks for now, which finds the downloads of before; what was chosen goes on with it. */
async function goOn({ context, packs, jobs, isolation }: PanelServices, pack: string, was: string): Promise<void> {
  const { dir } = await packFolder(context, pack)
  const saved = await savedChoices(context.engine.settings.home)
  const [isolate, classes] = [saved.isolated.has(was), saved.classes.get(was) ?? {}]
  for (const [name, on] of Object.entries(classes)) await saveChoice(context, pack, { name, on })
  if (Object.keys(classes).length > 0) context.classes.set(pack, classes)
  const { envs } = context.engine
  if ((await envs.find(envs.idOf(was))) !== null) {
    if (isolate) await saveChoice(context, pack, { on: true }) // kept where its environment cannot be built
    packs.setInstalling(pack)
    jobs.start({ action: 'install', pack, dir, ...(isolate && { isolate }) })
  } else if (isolate) await isolation.set(pack, true)
}

/** A user's answer whether a pack is the one that is gone. Throws BAD_REQUEST where there is no such question, and what keeps it from being isolated as that one was. */
export async function answerRenamed(services: PanelServices, pack: string, same: boolean): Promise<void> {
  const { context, packs } = services
  await packs.rescan() // another panel may have answered
  const was = context.store.packs.get(pack)?.was
  if (was === undefined || was === null) throw new BridgeError('BAD_REQUEST', `${pack} is not known by another name.`)
  if (same) {
    await goOn(services, pack, was)
    await forgetGone(context, was)
    await services.workers.retire(was)
  } else await notTheSame(context, pack, was)
  await packs.rescan()
}
