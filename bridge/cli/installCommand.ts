import type { EnvCombination, InstallPlan } from '../../schemas/env'
import type { Engine } from '../engine'
import { BridgeError } from '../errors/bridgeError'
import { packAt, type PackFolder } from '../packs/scan'
import { interruptSignal } from './interrupt'
import { table, type Output } from './output'
import { runJob } from './runJob'

export function humanPlan(plan: InstallPlan): string {
  const bytes = plan.download_bytes === null ? 'unknown' : `${(plan.download_bytes / 1e6).toFixed(1)} MB`
  const rows = [
    ...plan.add.map(({ name, version }) => ['+', name, version]),
    ...plan.change.map(({ name, from, to }) => ['~', name, `${from} → ${to}`]),
    ...plan.remove.map(({ name, version }) => ['-', name, version]),
  ]
  const from = plan.hosts.length > 0 ? ` from ${plan.hosts.join(', ')}` : ''
  const head = `${plan.env} (${plan.kind}), download ${bytes}${from}, torch changes: ${plan.torch_changes ? 'YES' : 'no'}`
  return [head, ...plan.warnings.map((text) => `warning: ${text}`), table(rows)].join('\n')
}

/** `best`, or `3.12/2.8.0/12.8` (Python, torch, CUDA; `cpu` for none). */
async function combinationOf(text: string, pack: PackFolder, engine: Engine): Promise<EnvCombination> {
  const [, python, torch, cuda] = /^(3\.\d+)\/(\d+\.\d+\.\d+)\/(\d+\.\d+|cpu)$/.exec(text) ?? []
  if (python && torch && cuda) return { python, torch, cuda: cuda === 'cpu' ? null : cuda }
  if (text !== 'best') throw new BridgeError('BAD_USAGE', `--sealed ${text} is neither \`best\` nor Python/torch/CUDA such as 3.12/2.8.0/12.8.`)
  const [offer] = await engine.find(pack, interruptSignal())
  if (offer) return offer.combination
  throw new BridgeError('NO_WHEEL', `There is no combination of Python, torch and CUDA with wheels for all that ${pack.id} needs.`)
}

export interface InstallOptions {
  pack: string | undefined
  env: string | undefined
  /** `--sealed VALUE`; `--overlay` is the other way back. */
  sealed: string | undefined
  overlay: boolean
  dryRun: boolean
}

/** `comfy-env install`: the plan, and unless --dry-run the job that carried it out. */
export async function installCommand(options: InstallOptions, engine: Engine, output: Output): Promise<number> {
  const pack = await packAt(options.pack ?? '.')
  const combination = options.sealed ? await combinationOf(options.sealed, pack, engine) : options.overlay ? null : undefined
  const choice = combination === undefined ? {} : { combination }
  const { plan } = await engine.plan(pack, choice, output.note, interruptSignal())
  if (options.env !== undefined && options.env !== plan.env) {
    throw new BridgeError('BAD_USAGE', `The environment of ${pack.id} is called ${plan.env}, not ${options.env}.`)
  }
  if (options.dryRun) {
    output.result({ plan }, () => humanPlan(plan))
    return 0
  }
  const job = await runJob({ action: 'install', pack: pack.id, dir: pack.dir, ...choice }, engine, output)
  output.result({ plan, job }, () => `${humanPlan(plan)}\nlog: ${job.log}`)
  return 0
}
