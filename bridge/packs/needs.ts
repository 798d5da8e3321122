import type { Target } from '../resolve/target'
import { fillText } from '../resolve/template'

/** What a pack says that it needs, whichever file it says it in. */
export interface PackNeeds {
  /** File name relative to the pack; null: the pack says nothing. */
  file: string | null
  /** Ordinary requirements, for uv. */
  python: string[]
  /** Requirements of prebuilt CUDA wheels, for our resolver. */
  cuda: string[]
  /** Wheel sources that the pack names; checked against the known hosts before use. */
  sources: string[]
  /** Package indexes for ordinary requirements that the pack names; checked as well. */
  indexes: string[]
  /** Python that the pack asks for; null: ComfyUI's. */
  pythonVersion: string | null
  /** torch that the pack asks for; null: ComfyUI's. */
  torchVersion: string | null
  /** CUDA that the pack asks for; null: ComfyUI's. `none`: the CPU. */
  cudaVersion: string | null
  /** Environment variables for its worker. */
  environment: Record<string, string>
  variables: Record<string, string>
  warnings: string[]
}

export const noNeeds = (file: string | null): PackNeeds => ({
  file,
  python: [],
  cuda: [],
  sources: [],
  indexes: [],
  pythonVersion: null,
  torchVersion: null,
  cudaVersion: null,
  environment: {},
  variables: {},
  warnings: [],
})

/** Fills the variables in a pack's requirements for a machine. Throws CONFIG_INVALID for one that is not known. */
export function fillNeeds(needs: PackNeeds, target: Target): PackNeeds {
  const fill = (text: string): string => fillText(text, target, needs.variables, needs.file ?? '')
  return { ...needs, python: needs.python.map(fill), cuda: needs.cuda.map(fill) }
}
