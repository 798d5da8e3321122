/**
 * Secrets that must not reach a log or a report: credentials in addresses, tokens by the shapes that their issuers publish, and
 * whatever stands behind a name that says that it is secret.
 */
const SECRETS: [RegExp, string][] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, '***'],
  [/(\/\/)[^/\s@]+@/g, '$1***@'],
  [/\b(hf_|ghp_|gho_|ghu_|ghs_|ghr_|github_pat_|glpat-|sk-|sk_live_|pk_live_|rk_live_|xox[abposr]-|npm_|pypi-|r8_|AKIA|ASIA|AIza|ya29\.|dop_v1_|SG\.)[A-Za-z0-9_.-]{8,}/g, '$1***'],
  [/\beyJ[\w-]{8,}\.[\w-]{4,}(\.[\w-]*)?/g, '***'],
  [/\b(Bearer|Basic|Token)\s+[A-Za-z0-9+/=_.~-]{8,}/g, '$1 ***'],
  [/\b([\w-]*(?:token|secret|passw(?:or)?d|passwd|api[_-]?key|apikey|access[_-]?key|private[_-]?key|authorization|credentials?|cookie|signature|sig))(["']?\s*[=:]\s*["']?)(?:(?:Bearer|Basic|Token)\s+)?[^\s"'&,;}]+/gi, '$1$2***'],
  [/(--?(?:token|password|passwd|api-key|secret)\s+)\S+/gi, '$1***'],
]

export function redactSecrets(text: string): string {
  return SECRETS.reduce((masked, [pattern, by]) => masked.replace(pattern, by), text)
}
