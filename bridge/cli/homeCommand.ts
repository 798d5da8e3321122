import type { Settings } from '../settings'
import type { Output } from './output'

/** `comfy-env home`: where environments and downloads lie. Whoever asks finds the folder made and marked, or hears why it cannot be ours. */
export function homeCommand({ home, cache }: Settings, output: Output): number {
  output.result({ home, cache }, () => `${home}\ndownloads: ${cache}`)
  return 0
}
