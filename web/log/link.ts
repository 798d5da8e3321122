/** A place in a log: its line's number, from 1. */
export interface LogPlace {
  log: string
  seq: number
}

const NAME = 'envmanager-log'

/** The address of a line, on the page that is open now. */
export function linkTo({ log, seq }: LogPlace, href: string): string {
  const url = new URL(href)
  url.searchParams.set(NAME, `${log}:${seq}`)
  url.hash = ''
  return url.href
}

/** The place that an address names; null: none. */
export function placeIn(href: string): LogPlace | null {
  const [, log, seq] = /^(.{1,128}):(\d{1,9})$/.exec(new URL(href).searchParams.get(NAME) ?? '') ?? []
  return log && seq ? { log, seq: Number(seq) } : null
}
