import { readlink, realpath } from 'node:fs/promises'
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

/** Why an environment cannot run, by what lies outside of it; null: nothing is known. Throws what keeps that from being looked at. */
export async function whyUnrunnable(record: EnvRecord, python: string, hostSites: string[]): Promise<string | null> {
  if ((await hostOf(record, hostSites)) === 'gone') return `the packages that it stands on are gone (${record.host_site}): ComfyUI’s Python was moved or deleted`
  if ((await realOf(python)) !== null) return null
  const base = await readlink(python).catch(() => null)
  return base === null ? `its Python is gone (${python})` : `the Python that it was made from is gone (${base}): it was moved or deleted`
}

/** Throws ENV_BROKEN where what an environment was made from is gone: it does not start, or looks for its packages in vain, torch first. */
export async function refuseUnrunnable(record: EnvRecord, python: string, hostSites: string[]): Promise<void> {
  const why = await whyUnrunnable(record, python, hostSites)
  if (why === null) return
  throw new BridgeError('ENV_BROKEN', `The environment of ${record.pack} cannot run: ${why}.`, {
    hint: `Repair it in the panel, or with \`comfy-env repair ${record.id}\`: that builds it on this ComfyUI’s Python.`,
  })
}
