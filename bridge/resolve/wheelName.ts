import { normalizeName } from './requirement'
import { cudaFromDigits, type LocalLabels, NO_LABELS, parseLocal, settleTorch, withPathLabels } from './labels'
import { isVersion, publicVersion } from './versions'

/** A wheel's file name taken apart (PEP 427, PEP 425; the optional last part is PEP 825's variant label). */
export interface WheelName {
  filename: string
  /** Normalised by PEP 503. */
  package: string
  /** Public version, without the local part. */
  version: string
  local: string | null
  build: string | null
  pythonTags: string[]
  abiTags: string[]
  platformTags: string[]
  variant: string | null
  labels: LocalLabels
  /** Null: a valid name; else why installers refuse it. */
  problem: string | null
}

const PYTHON_TAG = /^(?:cp|py|pp|ip|jy|graalpy)\d+/

/** The file name of a URL or path: last segment, decoded, without query and fragment. */
export function filenameOf(urlOrName: string): string {
  const path = urlOrName.split('#')[0]?.split('?')[0] ?? ''
  return decoded(path.split(/[/\\]/).at(-1) ?? '')
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}


/** Folders of an address or path, decoded: without scheme, host and file name. */
function foldersOf(urlOrPath: string): string[] {
  const path = urlOrPath.replace(/[?#].*$/, '').replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, '')
  return path.split(/[/\\]/).slice(0, -1).map(decoded)
}

/** Python version of a build that is bound to one, `3.12`; null for stable-ABI and pure builds. */
function boundPython(pythonTags: string[], abiTags: string[]): string | null {
  const digits = /^cp3(\d+)$/.exec(pythonTags[0] ?? '')?.[1]
  return digits && abiTags[0]?.startsWith('cp') ? `3.${digits}` : null
}

/** Labels of the local version; some publishers (spconv, cumm, mlx) write the CUDA into the package name instead, some into folders. */
function labelsOf(name: string, local: string | null, folders: string[], python: string | null): LocalLabels {
  let labels = local === null ? NO_LABELS : parseLocal(local)
  const inName = /-cu(?:da-?)?(\d{2,3})x?(?:-|$)/.exec(name)?.[1]
  if (labels.cuda === null && inName) labels = { ...labels, cuda: cudaFromDigits(inName), backend: 'cuda' }
  return settleTorch(withPathLabels(labels, folders), python)
}

/** torch's own wheel is labelled by its version. */
function withOwnVersion(labels: LocalLabels, name: string, version: string): LocalLabels {
  return name === 'torch' ? { ...labels, torch: version, torch_match: 'exact', torch_candidates: [version] } : labels
}

const problemOf = (version: string, build: string | undefined): string | null => {
  if (!isVersion(version)) return `\`${version}\` is no version by PEP 440`
  return build !== undefined && !/^\d/.test(build) ? `the build tag \`${build}\` does not start with a digit` : null
}

/**
 * Takes an address, path or file name apart as far as possible; null where it has not the parts of a wheel's name. `problem`
 * says why an installer would refuse it.
 */
export function readWheelName(urlOrPath: string): WheelName | null {
  const filename = filenameOf(urlOrPath)
  if (!filename.toLowerCase().endsWith('.whl')) return null
  const parts = filename.slice(0, -4).split('-')
  const at = parts.findIndex((part, index) => index >= 2 && PYTHON_TAG.test(part))
  const [python, abi, platform, variant, ...more] = parts.slice(at)
  if ((at !== 2 && at !== 3) || !python || !abi || !platform || more.length > 0) return null
  const [name = '', full = '', build] = parts.slice(0, at)
  if (!name) return null
  const version = full.replaceAll('_', '-')
  const local = version.includes('+') ? version.slice(version.indexOf('+') + 1) : null
  const tags = { pythonTags: python.split('.'), abiTags: abi.split('.'), platformTags: platform.split(/\.(?=[a-z])/i) }
  const normal = normalizeName(name)
  const labels = labelsOf(normal, local, foldersOf(urlOrPath), boundPython(tags.pythonTags, tags.abiTags))
  return {
    filename,
    package: normal,
    version: publicVersion(version),
    local,
    build: build ?? null,
    ...tags,
    variant: variant ?? null,
    labels: withOwnVersion(labels, normal, publicVersion(version)),
    problem: problemOf(version, build),
  }
}

/** As `readWheelName`, but null for a name that installers refuse as well. */
export function parseWheelName(urlOrPath: string): WheelName | null {
  const name = readWheelName(urlOrPath)
  return name?.problem === null ? name : null
}
