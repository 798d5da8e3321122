/** What a variable of a naming scheme can stand for; any other is one part of a path. */
const SHAPES: Record<string, string> = {
  cuda_short: String.raw`\d{2,4}`,
  cuda_short2: String.raw`\d{2,4}`,
  cuda_major: String.raw`\d{2}`,
  cuda_version: String.raw`\d{2}\.\d+`,
  torch_mm: String.raw`\d{2,3}`,
  torch_short: String.raw`\d{3,4}`,
  torch_mm_dot: String.raw`\d+\.\d+`,
  torch_version: String.raw`\d+\.\d+\.\d+(?:\.dev\d+)?`,
  torch_min: String.raw`\d+\.\d+\.\d+`,
  py_tag: String.raw`(?:cp|py)\d+(?:\.(?:cp|py)\d+)*`,
  py_short: String.raw`\d{2,3}`,
  py_minor: String.raw`\d{1,2}`,
  abi_tag: String.raw`(?:cp\d+[tmu]*|abi3t?|none)(?:\.abi3t)?`,
  platform: String.raw`[a-z0-9_.]+`,
  version: String.raw`\d[0-9a-zA-Z.!]*?`,
  cxx11abi: '(?:[Tt]rue|TRUE|[Ff]alse|FALSE|[01])',
  n: String.raw`\d+`,
  date: String.raw`\d+`,
  hash: '[0-9a-f]+',
}

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`)

/** Takes an address apart by a naming scheme: variable → value. Null: it is not of that scheme. */
export function matchScheme(scheme: string, address: string): Record<string, string> | null {
  const names: string[] = []
  const pattern = scheme.split(/(\{\w+\})/).map((part) => {
    const name = /^\{(\w+)\}$/.exec(part)?.[1]
    if (!name) return escape(part)
    if (names.includes(name)) return String.raw`\k<${name}>`
    names.push(name)
    return `(?<${name}>${SHAPES[name] ?? '[^/]+?'})`
  })
  const match = new RegExp(`^${pattern.join('')}$`).exec(address)
  return match?.groups ? { ...match.groups } : null
}

/** Puts values into a naming scheme, as the publisher writes them. */
export function fillScheme(scheme: string, values: Readonly<Record<string, string>>): string {
  return scheme.replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole)
}
