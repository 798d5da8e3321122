import { hostname } from 'node:os'
import type { Check, ReportPart } from '../../schemas/care'
import type { Snapshot } from '../../schemas/panelLink'
import { redactSecrets } from '../redact'
import { userFolder, userName } from '../user'

/** What of a machine's names is hidden: the person's, wherever a path holds it, and the computer's. */
export interface Names {
  user: string
  home: string
  host: string
}

export const ownNames = (): Names => ({ user: userName(), home: userFolder() ?? '', host: hostname() })

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

interface Rule {
  kind: NonNullable<ReportPart['hidden']>
  pattern: RegExp
  shown: string
}

function rules({ user, home, host }: Names): Rule[] {
  const common = /^(root|user|admin|localhost)$/i
  return [
    ...(home.length > 3 ? [{ kind: 'user' as const, pattern: new RegExp(escape(home), 'g'), shown: '~' }] : []),
    { kind: 'user', pattern: /(\/(?:home|Users)\/)[^/\s"'<>|]+/g, shown: '$1***' },
    { kind: 'user', pattern: /([A-Za-z]:\\Users\\)[^\\"'<>|\n]+/g, shown: '$1***' },
    ...(user.length > 2 && !common.test(user) ? [{ kind: 'user' as const, pattern: new RegExp(`\\b${escape(user)}\\b`, 'g'), shown: '***' }] : []),
    ...(host.length > 2 && !common.test(host) ? [{ kind: 'host' as const, pattern: new RegExp(`\\b${escape(host)}\\b`, 'g'), shown: '***' }] : []),
  ]
}

function split(part: ReportPart, { kind, pattern, shown }: Rule): ReportPart[] {
  if (part.hidden) return [part]
  const found: ReportPart[] = []
  let at = 0
  for (const match of part.text.matchAll(pattern)) {
    found.push({ text: part.text.slice(at, match.index), hidden: null })
    found.push({ text: shown.replace('$1', match[1] ?? ''), hidden: kind })
    at = match.index + match[0].length
  }
  return [...found, { text: part.text.slice(at), hidden: null }].filter(({ text }) => text !== '')
}

/** Parts of a text; what must not leave the machine is replaced in it, and each place says by what kind. */
export function hide(text: string, names: Names): ReportPart[] {
  const masked = redactSecrets(text)
  const parts: ReportPart[] = masked.split(/(\*\*\*)/).filter((piece) => piece !== '').map((piece) => ({ text: piece, hidden: piece === '***' ? 'secret' : null }))
  return rules(names).reduce((all, rule) => all.flatMap((part) => split(part, rule)), parts)
}

const section = (title: string, lines: string[]): string => [`## ${title}`, ...(lines.length > 0 ? lines : ['none']), ''].join('\n')

/** The text of the diagnostic report, before anything in it is hidden. `logs`: the last lines of what failed, by name. */
export function reportText({ host, packs, envs, jobs, workers }: Snapshot, checks: Check[], logs: Map<string, string[]>): string {
  const failed = jobs.filter(({ state }) => state.status === 'failed')
  return [
    '# comfyui-envmanager report',
    '',
    section('Machine', [host.one_line, `comfyui-envmanager ${host.version}, ComfyUI ${host.comfyui ?? 'not connected'}, uv ${host.uv ?? 'not found'}`, `home ${host.home}`, ...host.problems]),
    section('Checks', checks.map(({ status, id, message, fix }) => `${status} ${id}: ${message}${fix ? ` (${fix})` : ''}`)),
    section('Settings', Object.entries(host.settings).map(([name, value]) => `${name}: ${JSON.stringify(value)}`)),
    section('Node packs', packs.map(({ id, state, reason, isolation }) => `${id}: ${state}, isolation ${isolation.state}. ${reason}`)),
    section('Environments', envs.map(({ id, kind, state, generation, packages }) => `${id}: ${kind}, ${state}, generation ${generation}, ${packages.length} packages`)),
    section('Workers', workers.map(({ id, state, restarts, calls }) => `${id}: ${state.status}, ${calls} calls, ${restarts} restarts`)),
    section('Failed jobs', failed.map(({ id, pack, action, state }) => `${id}: ${action} of ${pack}: ${state.status === 'failed' ? `${state.error.code} in ${state.phase}: ${state.error.message}` : ''}`)),
    ...[...logs].map(([name, lines]) => section(`Log of ${name}, its last lines`, lines)),
  ].join('\n')
}
