/** The attributes of one tag, by lower-case name; the first of a name counts. */
type Attributes = Map<string, string>

const ENTITIES = new Map(Object.entries({ amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", '#43': '+', '#x2B': '+', '#x2b': '+' }))

function unescapeHtml(text: string): string {
  return text.replace(/&(#?\w{1,8});/g, (whole, entity: string) => ENTITIES.get(entity) ?? whole)
}

/** What stands in these is text, whatever it looks like. */
const RAW = new Set(['script', 'style', 'textarea', 'title'])

/** Reads from a place on. Each pattern is a single repetition, so that no character is looked at more than a few times. */
class Scanner {
  at = 0

  constructor(readonly text: string) {}

  get done(): boolean {
    return this.at >= this.text.length
  }

  /** What of the text stands here by a sticky pattern. */
  take(pattern: RegExp): string {
    pattern.lastIndex = this.at
    const [found = ''] = pattern.exec(this.text) ?? []
    this.at += found.length
    return found
  }

  /** What stands before `mark`, and goes behind it. Without one, nothing is left. */
  upTo(mark: string): string {
    const end = this.text.indexOf(mark, this.at)
    const found = this.text.slice(this.at, end === -1 ? undefined : end)
    this.at = end === -1 ? this.text.length : end + mark.length
    return found
  }

  /** Goes to the next match of a global pattern; to the end if there is none. */
  skipTo(pattern: RegExp): void {
    pattern.lastIndex = this.at
    this.at = pattern.exec(this.text)?.index ?? this.text.length
  }
}

function value(scanner: Scanner): string {
  const quote = scanner.take(/["']/y)
  return unescapeHtml(quote ? scanner.upTo(quote) : scanner.take(/[^\s>]+/y))
}

/** From behind a tag's name to behind its `>`. Null: the page ends in the tag. */
function attributes(scanner: Scanner): Attributes | null {
  const found: Attributes = new Map()
  for (;;) {
    scanner.take(/[\s/]+/y)
    if (scanner.done) return null
    if (scanner.take(/>/y)) return found
    const name = (scanner.take(/=/y) + scanner.take(/[^\s/>=]+/y)).toLowerCase()
    scanner.take(/\s+/y)
    const text = scanner.take(/=\s*/y) ? value(scanner) : ''
    if (!found.has(name)) found.set(name, text)
  }
}

/**
 * The attributes of every `<a>` of a page, by the rules of the HTML standard's tokenizer: comments, scripts and quoted values hide what stands in
 * them. Takes time by the page's length, whatever is in it.
 */
export function* anchors(text: string): Generator<Attributes> {
  const scanner = new Scanner(text)
  for (;;) {
    scanner.upTo('<')
    if (scanner.done) return
    if (scanner.take(/!--/y)) {
      scanner.upTo('-->')
      continue
    }
    const name = scanner.take(/[a-z][^\s/>]*/iy).toLowerCase()
    if (!name) continue
    const found = attributes(scanner)
    if (!found) return
    if (name === 'a') yield found
    else if (RAW.has(name)) scanner.skipTo(new RegExp(`</${name}`, 'gi'))
  }
}
