import type { WheelName } from './wheelName'

/** One wheel that a source offers. */
export interface Candidate {
  url: string
  filename: string
  sha256: string | null
  /** The source as the user knows it: an address or a folder. */
  source: string
  yanked: boolean
  /** The address was made from a template, and nothing is there. */
  missing: boolean
  /** Null: the name is no wheel name. */
  name: WheelName | null
}
