import type { Fingerprint } from '../../schemas/host'
import { valueOf } from '../../schemas/byName'
import { BridgeError } from '../errors/bridgeError'
import type { Requirement } from './requirement'
import { platformTags } from './tags'
import type { Target } from './target'
import { compareDotted, minor, numbers } from './versions'

/** A variable: one value, several to try in order, or absent because the machine does not say. */
export type Values = Record<string, string[]>

const one = (value: string): string[] => [value]

function pythonValues({ python, platform }: Fingerprint): Values {
  const short = minor(python.version).replace('.', '')
  return {
    py_version: one(minor(python.version)),
    python_version: one(minor(python.version)),
    py_short: one(short),
    py_minor: one(short.slice(1)),
    py_tag: one(python.tag),
    abi_tag: one(python.abi),
    os: one(platform.os),
    os_label: [{ windows: 'win', linux: 'Linux', darwin: 'macOS' }[platform.os]],
  }
}

const NEW_ABI = ['TRUE', 'True', 'true', '1']
const OLD_ABI = ['FALSE', 'False', 'false', '0']

function torchValues({ torch, platform }: Fingerprint): Values {
  if (!torch) return {}
  const mm = minor(torch.version)
  const values: Values = {
    torch_version: one(torch.version),
    torch_short: one(torch.version.replaceAll('.', '')),
    torch_mm: one(mm.replace('.', '')),
    torch_mm_dot: one(mm),
    torch_dotted_mm: one(mm),
  }
  for (const [name, value] of Object.entries(values)) values[name.replace(/^torch_/, 'pytorch_')] = value
  const abi = torch.cxx11abi
  // Windows has no dual C++ ABI: publishers write either word there
  if (platform.os === 'windows') values.cxx11abi = [...OLD_ABI, ...NEW_ABI]
  else if (abi !== null) values.cxx11abi = abi ? NEW_ABI : OLD_ABI
  return values
}

function cudaValues({ torch, cuda }: Fingerprint): Values {
  const version = torch?.cuda ?? cuda?.version
  if (!version) return torch?.hip ? { rocm: one(torch.hip) } : {}
  const [major = 0] = numbers(version)
  // spconv publishes for few CUDA versions: the nearest one below, of the same major (its README)
  const spconv = ['12.6', '12.4', '12.1', '12.0', '11.8', '11.7', '11.4', '11.3'].find(
    (known) => numbers(known)[0] === major && compareDotted(known, version) <= 0,
  )
  return {
    cuda_version: one(version),
    cuda_short: one(version.replaceAll('.', '')),
    cuda_major: one(String(major)),
    ...(spconv && { cuda_short2: one(spconv.replaceAll('.', '')) }),
  }
}

/** The platform tags that publishers really use, most specific first: an index is needed for any other. */
function platformValues(target: Target): string[] {
  const { platform, glibc } = target.tags
  if (!platform.startsWith('linux_')) return one(platform)
  const arch = platform.slice('linux_'.length)
  const pair = (a: number, b: number): string => `manylinux_2_${a}_${arch}.manylinux_2_${b}_${arch}`
  const usual = [platform, `manylinux_2_28_${arch}`, pair(24, 28), pair(26, 28), pair(27, 28), pair(34, 35)]
  const allowed = new Set(platformTags({ platform, glibc }))
  return usual.filter((tag) => tag.split('.').some((part) => allowed.has(part)))
}

/** Every template variable that this machine fills, both generations of the Python library comfyui-envmanager and what other publishers need. */
export function machineValues(target: Target): Values {
  const { fingerprint } = target
  return {
    ...pythonValues(fingerprint),
    ...torchValues(fingerprint),
    ...cudaValues(fingerprint),
    platform: platformValues(target),
  }
}

function packageValues({ name, specifier }: Requirement): Values {
  const version = /^===?([^,*]+)$/.exec(specifier)?.[1]
  return {
    package: one(name),
    package_norm: one(name),
    package_us: one(name.replaceAll('-', '_')),
    ...(version && { version: one(version) }),
  }
}

const VARIABLE = /\{([^{}]*)\}/

const KNOWN = new Set(
  (
    'package package_norm package_us version py_version python_version py_short py_minor py_tag abi_tag os os_label platform ' +
    'cuda_version cuda_short cuda_short2 cuda_major torch_version torch_short torch_mm torch_mm_dot torch_dotted_mm cxx11abi rocm ' +
    'pytorch_version pytorch_short pytorch_mm pytorch_mm_dot pytorch_dotted_mm'
  ).split(' '),
)

function unfilled(name: string, template: string): BridgeError {
  const known = name.split('|').every((part) => KNOWN.has(part))
  const why = known ? 'this machine does not say (no such torch, CUDA or exact version)' : 'is not known'
  return new BridgeError('TEMPLATE_VARIABLE', `{${name}} in ${template} ${known ? 'has a value that ' : ''}${why}.`, {
    details: { variable: name, template, known: [...KNOWN] },
  })
}

/** At most this many addresses from one template. */
const MOST = 64

/** A publisher's own spellings where the machine allows them; where the machine is silent, all of them. */
function spelled(values: Values, own: Values): Values {
  const chosen = Object.entries(own).map(([name, spellings]): [string, string[]] => {
    const allowed = spellings.filter((spelling) => valueOf(values, name)?.includes(spelling))
    return [name, allowed.length > 0 ? allowed : spellings]
  })
  return { ...values, ...Object.fromEntries(chosen) }
}

function fill(template: string, values: Values, encode: (value: string) => string): string[] {
  let filled = [template]
  for (;;) {
    const match = VARIABLE.exec(filled[0] ?? '')
    if (!match) return filled
    const name = match[1] ?? ''
    const choices = name.split('|').flatMap((part) => valueOf(values, part) ?? [])
    if (choices.length === 0) throw unfilled(name, template)
    filled = filled
      .flatMap((url) => choices.map((choice) => url.replaceAll(match[0], encode(choice))))
      .slice(0, MOST)
  }
}

/**
 * Fills a URL template: one address for each combination of values. Values are percent-encoded, `+` always as `%2B`. A variable
 * without a value is an error that names it: an address with a `{variable}` left in it never comes out.
 */
export function fillTemplate(template: string, requirement: Requirement, target: Target, own: Values = {}): string[] {
  const values = { ...spelled(machineValues(target), own), ...packageValues(requirement) }
  return fill(template, values, encodeURIComponent).map((url) => url.replaceAll('+', '%2B'))
}

/** Fills a package name that varies by CUDA, such as `spconv-cu{cuda_short2}`. */
export function fillName(template: string, requirement: Requirement, target: Target): string {
  return fill(template, { ...machineValues(target), ...packageValues(requirement) }, (value) => value)[0] ?? ''
}

/** Fills the variables of a config's text with the machine's and the config's own; an unknown one is CONFIG_INVALID. */
export function fillText(text: string, target: Target, own: Record<string, string>, file: string): string {
  const values = machineValues(target)
  return text.replace(/\{([^{}]*)\}/g, (whole, name: string) => {
    const value = valueOf(own, name) ?? valueOf(values, name)?.[0]
    if (value !== undefined) return value
    const why = KNOWN.has(name) ? 'has no value on this machine' : 'is not known'
    throw new BridgeError('CONFIG_INVALID', `${file}: the variable ${whole} in \`${text}\` ${why}.`)
  })
}

/** Every variable with a value, the first of each: what `comfy-env info` shows. */
export function shownVariables(target: Target): Record<string, string> {
  return Object.fromEntries(Object.entries(machineValues(target)).map(([name, [value = '']]) => [name, value]))
}
