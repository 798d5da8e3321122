import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { Fingerprint } from '../../schemas/host'
import { compareDotted } from '../resolve/versions'
import { run } from '../run'

type Gpu = Fingerprint['gpus'][number]

export interface GpuProbe {
  driver: string | null
  gpus: Gpu[]
  source: string
}

/** By absolute path: a program of this name elsewhere on PATH is not asked. */
const SMI_PLACES =
  process.platform === 'win32'
    ? ['C:\\Windows\\System32\\nvidia-smi.exe', 'C:\\Program Files\\NVIDIA Corporation\\NVSMI\\nvidia-smi.exe']
    : ['/usr/bin/nvidia-smi', '/usr/local/bin/nvidia-smi', '/usr/local/nvidia/bin/nvidia-smi', '/usr/lib/wsl/lib/nvidia-smi']

const FIELDS = ['name', 'uuid', 'memory.total', 'driver_version', 'compute_cap']

/** The nvidia-smi of this machine; null: there is none. */
export const smiPath = (): string | null => SMI_PLACES.find((place) => existsSync(place)) ?? null

function parseRow(row: string): Gpu & { driver: string | null } {
  const [name = '', uuid = '', memory = '', driver = '', compute = ''] = row.split(',').map((cell) => cell.trim())
  const mebibytes = Number(memory)
  return {
    name,
    uuid: uuid || null,
    memory_bytes: Number.isFinite(mebibytes) ? mebibytes * 1024 * 1024 : null,
    compute: /^\d+\.\d+$/.test(compute) ? compute : 'unknown',
    driver: driver || null,
  }
}

/** Asks nvidia-smi for all GPUs, without `compute_cap` again if the driver is too old to know that field. */
async function askSmi(path: string): Promise<GpuProbe | null> {
  for (const fields of [FIELDS, FIELDS.slice(0, -1)]) {
    const args = [`--query-gpu=${fields.join(',')}`, '--format=csv,noheader,nounits']
    const { code, stdout } = await run(path, args, 5000, { env: { CUDA_VISIBLE_DEVICES: '' } })
    if (code !== 0) continue
    const rows = stdout.trim().split('\n').filter(Boolean).map(parseRow)
    const gpus = rows.map(({ name, compute, memory_bytes, uuid }) => ({ name, compute, memory_bytes, uuid }))
    return { driver: rows[0]?.driver ?? null, gpus, source: path }
  }
  return null
}

async function driverFile(): Promise<GpuProbe | null> {
  const file = '/sys/module/nvidia/version'
  const text = await readFile(file, 'utf8').catch(() => null)
  return text ? { driver: text.trim(), gpus: [], source: file } : null
}

/** NVIDIA driver and all GPUs. */
export async function probeGpu(): Promise<GpuProbe> {
  for (const path of SMI_PLACES.filter((place) => existsSync(place))) {
    const found = await askSmi(path)
    if (found) return found
  }
  return (await driverFile()) ?? { driver: null, gpus: [], source: 'no nvidia-smi, no NVIDIA kernel module' }
}

/** First driver of each CUDA release, Linux (CUDA release notes, table of toolkit driver versions). Newest first. */
const TOOLKIT_DRIVER: [cuda: string, linux: string, windows: string][] = [
  ['13.2', '595.45.04', '595.45'],
  ['13.1', '590.44.01', '590.44'],
  ['13.0', '580.65.06', '580.65'],
  ['12.9', '575.51.03', '576.02'],
  ['12.8', '570.26', '570.65'],
  ['12.6', '560.28.03', '560.76'],
  ['12.5', '555.42.02', '555.85'],
  ['12.4', '550.54.14', '551.61'],
  ['12.3', '545.23.06', '545.84'],
  ['12.2', '535.54.03', '536.25'],
  ['12.1', '530.30.02', '531.14'],
  ['12.0', '525.60.13', '527.41'],
  ['11.8', '520.61.05', '520.06'],
]

/** The newest CUDA release whose own driver is not newer than this one. */
export function newestCuda(driver: string, os: 'linux' | 'windows' | 'darwin'): string | null {
  const column = os === 'windows' ? 2 : 1
  return TOOLKIT_DRIVER.find((row) => compareDotted(driver, row[column]) >= 0)?.[0] ?? null
}
