import { normalizeName } from './requirement'
import { cudaFromDigits, type LocalLabels, NO_LABELS, parseLocal } from './labels'
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
}

const PYTHON_TAG = /^(?:cp|py|pp|ip|jy|graalpy)\d+/

/** The file name of a URL or path: last segment, decoded, without query and fragment. */
export function filenameOf(urlOrName: string): string {
  const path = urlOrName.split('#')[0]?.split('?')[0] ?? ''
  const last = path.split(/[/\\]/).at(-1) ?? ''
  try {
    return decodeURIComponent(last)
  } catch {
    return last
  }
}

/** Labels of the local version; some publishers (spconv, cumm) write the CUDA into the package name instead. */
function labelsOf(name: string, local: string | null): LocalLabels {
  const labels = local === null ? NO_LABELS : parseLocal(local)
  const inName = /-cu(?:da)?(\d{2,3})x?(?:-|$)/.exec(name)?.[1]
  return labels.cuda === null && inName ? { ...labels, cuda: cudaFromDigits(inName) } : labels
}

/** Takes a name apart; null where it is no wheel name (wrong parts, or a version that PEP 440 does not allow). */
export function parseWheelName(urlOrName: string): WheelName | null {
  const filename = filenameOf(urlOrName)
  if (!filename.toLowerCase().endsWith('.whl')) return null
  const parts = filename.slice(0, -4).split('-')
  const at = parts.findIndex((part, index) => index >= 2 && PYTHON_TAG.test(part))
  const [python, abi, platform, variant, ...more] = parts.slice(at)
  if ((at !== 2 && at !== 3) || !python || !abi || !platform || more.length > 0) return null
  const [name = '', full = '', build] = parts.slice(0, at)
  const version = full.replaceAll('_', '-')
  if (!name || !isVersion(version) || (build !== undefined && !/^\d/.test(build))) return null
  const local = version.includes('+') ? version.slice(version.indexOf('+') + 1) : null
  return {
    filename,
    package: normalizeName(name),
    version: publicVersion(version),
    local,
    build: build ?? null,
    pythonTags: python.split('.'),
    abiTags: abi.split('.'),
    platformTags: platform.split('.'),
    variant: variant ?? null,
    labels: labelsOf(normalizeName(name), local),
  }
}
