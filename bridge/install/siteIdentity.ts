import { stat } from 'node:fs/promises'
import { errnoOf } from '../files'

/**
 * By what a folder of packages is known as long as it is the same one, whatever is in it: when it was made, or its number where the file system does not keep
 * that (it says the time of the last change then). No number of a device: they change with a restart. Null: there is no such folder.
 */
export async function identityOf(site: string): Promise<string | null> {
  try {
    const { birthtimeMs, ctimeMs, ino } = await stat(site)
    return birthtimeMs > 0 && birthtimeMs !== ctimeMs ? `made ${birthtimeMs}` : `number ${ino}`
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return null
    throw error
  }
}

/** Whether a folder is still the one of that identity; undefined, of an older version's record, is taken for the same. */
export async function isSameSite(site: string, identity: string | undefined): Promise<boolean> {
  if (identity === undefined) return true
  if (identity.startsWith('number ')) return (await stat(site).then(({ ino }) => `number ${ino}`, () => null)) === identity
  return (await identityOf(site)) === identity
}
