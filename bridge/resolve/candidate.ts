import { filenameOf, parseWheelName, type WheelName } from './wheelName'

/** One wheel that a source offers. */
export interface Candidate {
  url: string
  filename: string
  sha256: string | null
  bytes: number | null
  /** The source as the user knows it: an address or a folder. */
  source: string
  yanked: boolean
  /** The address was made from a template, and nothing is there. */
  missing: boolean
  /** Where the index offers the wheel's METADATA alone (PEP 658). */
  metadataUrl: string | null
  /** Version specifier of torch in the wheel's METADATA; null: not read, or it asks for no torch. */
  requiresTorch: string | null
  /** Its publisher says that it does not link torch, whatever its name says. */
  torchFree: boolean
  /** A node pack's source leads to a host that is neither known nor its own. */
  foreignHost: boolean
  /** Null: the name is no valid wheel name. */
  name: WheelName | null
}

/** An address without the name and password that it may carry. */
export function redact(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//***@')
}

/** Makes the candidate for an address; the name is read from the address, never from a link's text. */
export function candidateOf(url: string, source: string, extra: Partial<Candidate> & { labelPath?: string } = {}): Candidate {
  const [address = '', fragment = ''] = url.split('#')
  const sha256 = /(?:^|&)sha256=([0-9a-fA-F]{64})/.exec(fragment)?.[1]?.toLowerCase() ?? null
  const { labelPath = address, ...given } = extra
  return {
    url: address,
    filename: filenameOf(address),
    sha256,
    bytes: null,
    source: redact(source),
    yanked: false,
    missing: false,
    metadataUrl: null,
    requiresTorch: null,
    torchFree: false,
    foreignHost: false,
    name: parseWheelName(labelPath),
    ...given,
  }
}
