import { text } from 'node:stream/consumers'
import type { Resolution } from '../../schemas/wheel'
import type { Engine } from '../engine'
import { BridgeError } from '../errors/bridgeError'
import { packageFacts, publisherOf } from '../registry/registry'
import { why } from '../resolve/why'
import { resolveAll } from '../sources/resolve'
import { interruptSignal } from './interrupt'
import { table, type Output } from './output'

const SHOWN_ROWS = 20

function human(resolution: Resolution): string {
  const { requirement, status, url, rejected, available, nearest, warnings, error } = resolution
  const notes = warnings.map((warning) => `  warning: ${warning}`)
  if (status === 'found') return [`${requirement}: ${url}`, ...notes].join('\n')
  if (status === 'error') return `${requirement}: ${error}`
  const lines = [`${requirement}: no wheel fits this machine.`]
  if (available.length > 0) {
    const rows = available.slice(0, SHOWN_ROWS).map(({ version, python, torch, cuda, platform }) => [version, python ?? 'any', torch ?? '-', cuda ?? '-', platform])
    lines.push('Wheels exist for:', table([['version', 'python', 'torch', 'cuda', 'platform'], ...rows]))
  }
  if (rejected.length > 0) {
    lines.push('Refused:', table(rejected.slice(0, SHOWN_ROWS).map(({ filename, reasons }) => [`  ${filename}`, reasons.join(' ')])))
  }
  for (const { change, filename } of nearest) {
    lines.push(`nearest: ${Object.entries(change).map(([fact, value]) => `${fact} ${value}`).join(', ')} → ${filename}`)
  }
  return lines.join('\n')
}

/** `comfy-env resolve`: exit 0 all found, 3 some without a fitting wheel, 1 some unknown. */
export async function resolveCommand(requirements: string[], sources: string[], verify: boolean, engine: Engine, output: Output): Promise<number> {
  if (requirements.length === 0) throw new BadUsage('resolve needs a requirement, such as nvdiffrast==0.4.0')
  const all = [...sources, ...engine.settings.sources]
  // whoever names sources asks about those; else the known publishers are asked
  const options = { ...engine.resolveOptions(all, [], interruptSignal()), verify, registry: engine.settings.registry && sources.length === 0 }
  if (all.length === 0 && !options.registry) throw new BadUsage('resolve needs a --source to look at')
  const results = await resolveAll(requirements, engine.target, options)
  output.result({ results }, () => results.map(human).join('\n\n'))
  if (results.some(({ status }) => status === 'error')) return 1
  return results.some(({ status }) => status === 'none') ? 3 : 0
}

class BadUsage extends BridgeError {
  constructor(message: string) {
    super('BAD_USAGE', `comfy-env ${message}.`)
  }
}

/** `comfy-env why`: exit 0 whatever the verdict, since the question was answered. `-` reads one name a line. */
export async function whyCommand(names: string[], engine: Engine, output: Output): Promise<number> {
  if (names.length === 0) throw new BadUsage('why needs a wheel’s file name or address')
  if (names.length === 1 && names[0] === '-') {
    const lines = (await text(process.stdin)).split(/\r?\n/).filter(Boolean)
    output.objects(lines.map((line) => why(line, engine.target, packageFacts)))
    return 0
  }
  for (const name of names) {
    const report = why(name, engine.target, packageFacts)
    const verdict = report.compatible ? 'fits this machine' : `does not fit: ${report.reasons.join(' ')}`
    const publisher = publisherOf(name)
    const notes = [...(report.warnings.length > 0 ? [`warning: ${report.warnings.join(' ')}`] : []), ...(publisher ? [`published by ${publisher}`] : [])]
    output.result(report, () => [report.filename, `${report.package} ${report.version}: ${verdict}`, ...notes].join('\n  '))
  }
  return 0
}
