import type { Span } from './ansi'

/** A span, and whether it is part of what was searched for. */
export interface Marked extends Span {
  mark: boolean
}

/** Spans cut at the places where a search is found, also where it goes over several of them. */
export function markSpans(spans: readonly Span[], search: string): Marked[] {
  const wanted = search.toLowerCase()
  const plain = spans.map((span) => ({ ...span, mark: false }))
  if (wanted === '') return plain
  const whole = spans.map(({ text }) => text).join('').toLowerCase()
  const edges: [number, number][] = []
  for (let at = whole.indexOf(wanted); at >= 0; at = whole.indexOf(wanted, at + wanted.length)) edges.push([at, at + wanted.length])
  if (edges.length === 0) return plain
  const marked: Marked[] = []
  let offset = 0
  for (const span of spans) {
    const end = offset + span.text.length
    let at = offset
    for (const [from, to] of edges) {
      if (to <= at || from >= end) continue
      if (from > at) marked.push({ ...span, text: span.text.slice(at - offset, from - offset), mark: false })
      const [begin, stop] = [Math.max(at, from), Math.min(end, to)]
      marked.push({ ...span, text: span.text.slice(begin - offset, stop - offset), mark: true })
      at = stop
    }
    if (at < end) marked.push({ ...span, text: span.text.slice(at - offset), mark: false })
    offset = end
  }
  return marked
}
