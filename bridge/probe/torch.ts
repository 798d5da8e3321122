import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Fingerprint } from '../../schemas/host'
import { compareVersions, publicVersion } from '../resolve/versions'

type TorchFacts = NonNullable<Fingerprint['torch']>

/** `name = 'value'`, `name: Optional[str] = None` and the like in `torch/version.py`. */
function assigned(text: string, name: string): string | null {
  const match = new RegExp(String.raw`^${name}\s*(?::[^=\n]*)?=\s*(?:'([^']*)'|"([^"]*)")`, 'm').exec(text)
  return match?.[1] ?? match?.[2] ?? null
}

/**
 * Reads the installed torch without importing it. `torch/version.py` and not the package's metadata: PyPI's Linux torch says
 * `2.8.0` there and `2.8.0+cu128` here.
 */
export async function probeTorch(sites: string[]): Promise<TorchFacts | null> {
  for (const site of sites) {
    const file = join(site, 'torch', 'version.py')
    const text = await readFile(file, 'utf8').catch(() => null)
    const full = text && assigned(text, '__version__')
    if (!text || !full) continue
    const version = publicVersion(full)
    return {
      version,
      cuda: assigned(text, 'cuda'),
      hip: assigned(text, 'hip'),
      // torch ≥ 2.7 is built with the new C++ ABI everywhere; before, it depends on the index
      cxx11abi: compareVersions(version, '2.7') >= 0 ? true : null,
      source: file,
    }
  }
  return null
}
