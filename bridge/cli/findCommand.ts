import type { EnvCombination } from '../../schemas/env'
import type { Engine } from '../engine'
import { BridgeError } from '../errors/bridgeError'
import { packAt } from '../packs/scan'
import { planTorch } from '../torchPlan'
import { interruptSignal } from './interrupt'
import { table, type Output } from './output'

const words = ({ python, torch, cuda }: EnvCombination): string => `Python ${python}, torch ${torch}, ${cuda ? `CUDA ${cuda}` : 'CPU'}`

/** `comfy-env find`: combinations for which every wheel of a pack exists. Exit 3 if there is none. */
export async function findCommand(dir: string | undefined, engine: Engine, output: Output): Promise<number> {
  const pack = await packAt(dir ?? '.')
  const offers = await engine.find(pack, interruptSignal())
  output.result({ pack: pack.id, offers }, () => {
    if (offers.length === 0) return `There is no combination of Python, torch and CUDA with wheels for all that ${pack.id} needs.`
    const lines = offers.map(({ combination, wheels }) => [words(combination), ...wheels.map(({ filename }) => `    ${filename}`)].join('\n'))
    const { python, torch, cuda } = offers[0]?.combination ?? { python: '', torch: '', cuda: null }
    return [...lines, '', `create it: comfy-env install --pack ${dir ?? '.'} --sealed ${python}/${torch}/${cuda ?? 'cpu'}`].join('\n')
  })
  return offers.length > 0 ? 0 : 3
}

/** `comfy-env torch VERSION`: what stays and what breaks if ComfyUI's torch moves there. */
export async function torchCommand(version: string | undefined, cuda: string | undefined, engine: Engine, output: Output): Promise<number> {
  if (!version || !/^\d+\.\d+\.\d+$/.test(version)) throw new BridgeError('BAD_USAGE', 'comfy-env torch needs the version to move to, such as 2.9.1.')
  if (cuda !== undefined && !/^(\d+\.\d+|cpu)$/.test(cuda)) throw new BridgeError('BAD_USAGE', `--to-cuda ${cuda} is not a version such as 12.8, and not \`cpu\`.`)
  const plan = await planTorch(engine, version, cuda === undefined ? undefined : cuda === 'cpu' ? null : cuda)
  output.result(plan, () => {
    const rows = plan.packages.map(({ name, installed, used_by, verdict, detail }) => [verdict, name, installed ?? '-', used_by, detail])
    const head = `torch ${plan.from?.torch ?? 'none'} → ${plan.to.torch}, ${plan.to.cuda ? `CUDA ${plan.to.cuda}` : 'CPU'}`
    return [head, ...plan.problems.map((text) => `problem: ${text}`), table(rows) || 'Nothing else is bound to torch.'].join('\n')
  })
  return 0
}
