import { realpath } from 'node:fs/promises'
import type { EnvRecord } from '../../schemas/env'
import { BridgeError } from '../errors/bridgeError'
import { isAbsent } from '../files'

const realOf = (path: string): Promise<string | null> =>
  realpath(path).catch((error: unknown) => {
    if (isAbsent(error)) return null
    throw error
  })

/**
 * What an overlay has behind its own packages: those of the ComfyUI with these folders of packages, of another, or nothing any more. Throws what keeps its own
 * folder from being looked at; a folder of ComfyUI that cannot be is not it.
 */
export async function hostOf({ host_site }: Pick<EnvRecord, 'host_site'>, hostSites: string[]): Promise<'own' | 'other' | 'gone'> {
  if (host_site === null) return 'own'
  const made = await realOf(host_site)
  if (made === null) return 'gone'
  return (await Promise.all(hostSites.map((site) => realOf(site).catch(() => null)))).includes(made) ? 'own' : 'other'
}

/** Throws ENV_BROKEN where the Python that an overlay was made from is gone: its packages would be looked for in vain, torch first. */
export async function refuseWithoutHost(record: EnvRecord, hostSites: string[]): Promise<void> {
  if ((await hostOf(record, hostSites)) !== 'gone') return
  throw new BridgeError('ENV_BROKEN', `The environment of ${record.pack} stands on packages that are gone (${record.host_site}): ComfyUI’s Python was moved or deleted.`, {
    hint: `\`comfy-env repair ${record.id}\` builds it on this ComfyUI’s Python.`,
  })
}
