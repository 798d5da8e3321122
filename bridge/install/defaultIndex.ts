import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import { candidateOf } from '../resolve/candidate'
import type { Settings } from '../settings'
import type { DefaultIndex } from '../sources/gather'
import { packagesOf } from './lock'
import type { Uv } from './uv'
import { lookUpArgs } from './uvArgs'

/** Asks the index that uv uses anyway, through uv: it knows the index, its mirrors and its credentials. */
export function defaultIndexOf(uv: Uv, settings: Settings): DefaultIndex {
  return async ({ name, specifier }, target, signal) => {
    const folder = await mkdtemp(join(tmpdir(), 'envmanager-look-'))
    try {
      const file = join(folder, 'requirements.in')
      await writeFile(file, `${name}${specifier}\n`)
      const args = lookUpArgs(file, target.tags.python, target.tags.platform, settings)
      const text = await uv.run(args, signal ? { signal } : {})
      return packagesOf(text).flatMap(({ wheels }) =>
        (wheels ?? []).flatMap(({ url, hashes, size }) =>
          url ? [candidateOf(url, `the package index (${name})`, { sha256: hashes?.sha256 ?? null, bytes: size ?? null })] : [],
        ),
      )
    } catch (error) {
      // no version of it, or none for this Python: an answer, not a failure
      if (error instanceof BridgeError && error.code === 'UV_FAILED' && /no solution|no wheels|not found|unsatisfiable/i.test(String(error.details?.tail))) return []
      throw error
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
}
