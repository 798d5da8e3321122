import type { Fingerprint } from '../../schemas/host'
import { BridgeError } from '../errors/bridgeError'
import { compareVersions, isVersion, minor, publicVersion } from '../resolve/versions'
import type { Overrides, Settings } from '../settings'
import { newestCuda, probeGpu } from './gpu'
import { askInterpreter, guessInterpreter, type InterpreterFacts } from './interpreter'
import { probeTorch } from './torch'

const SETS = 'set by the user'

function platformTag(facts: InterpreterFacts): string {
  return facts.platform.replace(/[-.]/g, '_').replace(/^macosx_(\d+)_(\d+)_/, 'macosx_$1_$2_')
}

function osOf(tag: string): 'linux' | 'windows' | 'darwin' {
  if (tag.startsWith('win')) return 'windows'
  return tag.startsWith('macosx') ? 'darwin' : 'linux'
}

function refuse(option: string, value: string, wanted: string): never {
  throw new BridgeError('BAD_USAGE', `--${option} ${value} is not ${wanted}.`)
}

function overridePython(found: Fingerprint['python'], value: string): Fingerprint['python'] {
  const match = /^(3\.\d+(?:\.\d+)?)(t?)$/.exec(value)
  if (!match?.[1]) return refuse('python', value, 'a Python version such as 3.12')
  const tag = `cp${minor(match[1]).replace('.', '')}`
  return { ...found, version: match[1], tag, abi: `${tag}${match[2]}`, source: SETS }
}

function overridePlatform(found: Fingerprint['platform'], value: string): Fingerprint['platform'] {
  const glibc = /^manylinux_(\d+)_(\d+)_(\w+)$/.exec(value)
  const tag = glibc ? `linux_${glibc[3]}` : value
  const os = osOf(tag)
  if (!/^(win32|win_(amd64|arm64)|linux_\w+|macosx_\d+_\d+_\w+)$/.test(tag)) {
    return refuse('platform', value, 'a wheel platform tag such as win_amd64, linux_x86_64 or manylinux_2_28_x86_64')
  }
  const arch = tag.replace(/^(?:win|linux|macosx_\d+_\d+)_?/, '') || 'x86'
  const named = glibc ? `${glibc[1]}.${glibc[2]}` : null
  return { tag, os, arch, glibc: os === 'linux' ? (named ?? found.glibc) : null }
}

function overrideTorch(found: Fingerprint['torch'], overrides: Overrides): Fingerprint['torch'] {
  const { torch, cuda, cxx11abi } = overrides
  if (torch === 'none') return null
  if (torch === undefined && cuda === undefined && cxx11abi === undefined) return found
  if (torch !== undefined && !isVersion(torch)) return refuse('torch', torch, 'a version such as 2.8.0')
  if (cuda !== undefined && cuda !== 'none' && !/^\d+\.\d+$/.test(cuda)) return refuse('cuda', cuda, 'a version such as 12.8')
  const version = torch ? publicVersion(torch) : found?.version
  if (!version) return null
  const label = torch && /\+cu(\d{2})(\d)/.exec(torch)
  const built = cuda ?? (label ? `${label[1]}.${label[2]}` : found?.cuda) ?? null
  const newAbi = compareVersions(version, '2.7') >= 0 ? true : null
  return {
    version,
    cuda: built === 'none' ? null : built,
    hip: cuda === undefined ? (found?.hip ?? null) : null,
    cxx11abi: cxx11abi === undefined ? newAbi : /^(true|1)$/i.test(cxx11abi),
    source: SETS,
  }
}

function overrideGpus(found: Fingerprint['gpus'], value: string | undefined): Fingerprint['gpus'] {
  if (value === undefined) return found
  if (value === 'none') return []
  return value.split(',').map((name) => {
    const match = /^(?:sm_?)?(\d+)\.?(\d)$/i.exec(name.trim())
    if (!match) return refuse('gpu', name, 'a compute capability such as sm_120')
    const compute = `${match[1]}.${match[2]}`
    return { name: `sm_${match[1]}${match[2]}`, compute, memory_bytes: null, uuid: null }
  })
}

export interface Probed {
  fingerprint: Fingerprint
  interpreter: InterpreterFacts
}

/** Reads the machine, then puts the user's overrides in place of what was found. */
export async function probe(settings: Settings): Promise<Probed> {
  const { overrides } = settings
  const path = settings.interpreter ?? guessInterpreter(settings.comfyui)
  const interpreter = await askInterpreter(path)
  const [foundTorch, gpu] = await Promise.all([probeTorch(interpreter.sites), probeGpu()])
  const tag = `cp${minor(interpreter.version).replace('.', '')}`
  let python: Fingerprint['python'] = {
    version: interpreter.version,
    tag,
    abi: interpreter.free_threaded ? `${tag}t` : tag,
    executable: interpreter.executable,
    source: path,
  }
  if (overrides.python) python = overridePython(python, overrides.python)
  const foundTag = platformTag(interpreter)
  let platform: Fingerprint['platform'] = {
    tag: foundTag,
    os: osOf(foundTag),
    arch: interpreter.machine,
    glibc: interpreter.glibc,
  }
  if (overrides.platform) platform = overridePlatform(platform, overrides.platform)
  const torch = overrideTorch(foundTorch, overrides)
  const driver = overrides.driver ?? gpu.driver
  const version = torch?.cuda ?? (overrides.cuda && overrides.cuda !== 'none' ? overrides.cuda : null)
  const max = driver ? newestCuda(driver, platform.os) : null
  const known = driver !== null || version !== null
  const cuda = known
    ? { version: version ?? (torch ? null : max), driver, driver_max_cuda: max, source: overrides.cuda || overrides.driver ? SETS : gpu.source }
    : null
  return { fingerprint: { python, platform, torch, cuda, gpus: overrideGpus(gpu.gpus, overrides.gpu) }, interpreter }
}

/** The fingerprint in one line, to paste into an issue. */
export function oneLine({ python, platform, torch, cuda, gpus }: Fingerprint): string {
  const backend = torch?.cuda ? `cu${torch.cuda}` : torch?.hip ? `rocm${torch.hip}` : 'cpu'
  return [
    `python ${python.version} ${python.abi}`,
    `${platform.tag}${platform.glibc ? ` glibc ${platform.glibc}` : ''}`,
    torch ? `torch ${torch.version} ${backend}` : 'no torch',
    cuda?.driver ? `driver ${cuda.driver}` : 'no NVIDIA driver',
    gpus.length > 0 ? gpus.map(({ name, compute }) => `${name} (${compute})`).join(' + ') : 'no GPU',
  ].join(' · ')
}
