export interface RecordRow {
  path: string
  hash: string | null
}

/** Rows of a wheel's RECORD (PEP 376): `path,sha256=<base64url>,size`; a quoted path may hold commas. */
export function parseRecord(text: string): RecordRow[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const match = /^(?:"((?:[^"]|"")*)"|([^,]*)),([^,]*),/.exec(line)
    const path = match?.[1]?.replaceAll('""', '"') ?? match?.[2]
    return path ? [{ path, hash: /^sha256=(.+)$/.exec(match?.[3] ?? '')?.[1] ?? null }] : []
  })
}
