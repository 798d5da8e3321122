import type { LogLine } from '../../schemas/job'
import { HOSTILE } from '../log/hostile'
import { line } from './things'

const ESC = '\u001b'

export const INSTALL_LOG: LogLine[] = [
  line(1, '— planning —', 'planning'),
  line(2, 'Resolved 5 packages in 312ms', 'planning'),
  line(3, '+ nvdiffrast 0.4.0+cu128torch2.8', 'planning'),
  line(4, '+ numpy 1.26.4', 'planning'),
  line(5, 'ComfyUI’s own environment, torch included: no change.', 'planning'),
  line(6, '— downloading —', 'downloading'),
  line(7, 'download https://***@github.com/x/y/nvdiffrast-0.4.0+cu128torch2.8-cp312-cp312-linux_x86_64.whl', 'downloading'),
  line(8, '— installing —', 'installing'),
  ...Array.from({ length: 20 }, (_, index) => line(9 + index, ` + package-${index + 1}==1.${index}.0`)),
  line(29, '— verifying —', 'verifying'),
  line(30, 'warning: numpy 1.26.4 is older than ComfyUI’s', 'verifying', 'warn'),
  line(31, 'ImportError: libcudart.so.12: cannot open shared object file: No such file or directory', 'verifying', 'error'),
  line(32, 'nvdiffrast was installed, but cannot be imported.', 'verifying', 'error'),
]

export const COLOUR_LOG: LogLine[] = [
  ...Array.from({ length: 16 }, (_, colour) => line(colour + 1, `${ESC}[${colour < 8 ? 30 + colour : 82 + colour}mcolour ${colour} of the terminal${ESC}[0m, and plain`, 'worker')),
  line(17, `${ESC}[1mbold${ESC}[22m ${ESC}[3mitalic${ESC}[23m ${ESC}[4munderlined${ESC}[24m`, 'worker'),
  line(18, ' 10%|█         | 1/10\r 50%|█████     | 5/10\r100%|██████████| 10/10', 'ModernGrain (node 12)'),
]

/** Lines that try to be more than text, and one that is very long. */
export const HOSTILE_LOG: LogLine[] = [...HOSTILE.map(([text]) => text), `long ${'x'.repeat(16_000)}`].map((text, index) => line(index + 1, text, 'worker'))

/** A log as long as they get. */
export const longLog = (count: number): LogLine[] =>
  Array.from({ length: count }, (_, index) => {
    const level = index % 997 === 0 ? 'error' : index % 101 === 0 ? 'warn' : 'info'
    return line(index + 1, `${index % 13 === 0 ? `${ESC}[36m` : ''}step ${index + 1}: tile ${index % 64} of 64, loss ${(1 / (index + 1)).toFixed(6)}${index === 4321 ? ' needle' : ''}`, `phase ${Math.floor(index / 25_000) + 1}`, level)
  })
