import type { WheelReport } from '../../schemas/wheel'
import { judge } from './judge'
import { normalizeName } from './requirement'
import type { Target } from './target'
import { filenameOf, parseWheelName } from './wheelName'

/** `comfy-env why`: what a wheel's name says, and whether it fits the target. */
export function why(urlOrName: string, target: Target): WheelReport {
  const name = parseWheelName(urlOrName)
  if (!name) {
    const filename = filenameOf(urlOrName)
    const labels = { cuda: null, torch: null, torch_match: null, cxx11abi: null, rocm: null }
    return {
      filename,
      package: normalizeName(filename.split('-')[0] ?? ''),
      version: filename.split('-')[1] ?? '',
      build: null,
      python_tags: [],
      abi_tags: [],
      platform_tags: [],
      labels,
      compatible: false,
      reasons: ['INVALID_NAME'],
      warnings: [],
    }
  }
  const { reasons, warnings } = judge(name, target)
  const { cuda, torch, torch_match, cxx11abi, rocm } = name.labels
  return {
    filename: name.filename,
    package: name.package,
    version: name.version,
    build: name.build,
    python_tags: name.pythonTags,
    abi_tags: name.abiTags,
    platform_tags: name.platformTags,
    labels: { cuda, torch, torch_match, cxx11abi, rocm },
    compatible: reasons.length === 0,
    reasons,
    warnings,
  }
}
