import type { WheelReport } from '../../schemas/wheel'
import { bindingLabels, isUnlabelled, judge, type PackageFacts, type Verdict } from './judge'
import { NO_LABELS } from './labels'
import { normalizeName } from './requirement'
import type { Target } from './target'
import { filenameOf, readWheelName, type WheelName } from './wheelName'

/** What can be said of a name that has not even the parts of a wheel's name. */
function shapeless(urlOrPath: string): WheelName {
  const filename = filenameOf(urlOrPath)
  const [name = '', version = ''] = filename.split('-')
  const tags = { pythonTags: [], abiTags: [], platformTags: [] }
  const rest = { local: null, build: null, variant: null, labels: NO_LABELS, problem: 'it has not the parts of a wheel’s name' }
  return { filename, package: normalizeName(name), version, ...tags, ...rest }
}

/** Judged as `resolve` does, but that a wheel has no label is a warning: nothing is chosen here. */
function verdictOf(name: WheelName, target: Target, facts: PackageFacts): Pick<Verdict, 'reasons' | 'warnings'> {
  if (name.problem !== null) return { reasons: ['INVALID_NAME'], warnings: [] }
  const labels = bindingLabels(name, { requiresTorch: null, torchFree: false }, facts)
  const { reasons, warnings } = judge(name, target, labels)
  return { reasons, warnings: isUnlabelled(name, labels, facts) ? [...warnings, 'UNLABELLED'] : warnings }
}

/** `comfy-env why`: what a wheel's name and the folders of its address say, and whether it fits the target. `factsOf` a package, by its normalised name. */
export function why(urlOrPath: string, target: Target, factsOf: (name: string) => PackageFacts): WheelReport {
  const name = readWheelName(urlOrPath) ?? shapeless(urlOrPath)
  const { reasons, warnings } = verdictOf(name, target, factsOf(name.package))
  const { cuda, torch, torch_match, cxx11abi, rocm, backend } = name.labels
  return {
    filename: name.filename,
    package: name.package,
    version: name.version,
    build: name.build,
    python_tags: name.pythonTags,
    abi_tags: name.abiTags,
    platform_tags: name.platformTags,
    labels: { cuda, torch, torch_match, cxx11abi, rocm, backend },
    compatible: reasons.length === 0,
    reasons,
    warnings,
  }
}
