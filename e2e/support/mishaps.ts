import { execFileSync } from 'node:child_process'
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { ROOT } from '../../scripts/devPython.ts'

/** Whether programs can be started with faults of the machine here: that needs Linux and a C compiler. */
export function canHaveMishaps(): boolean {
  try {
    execFileSync('cc', ['--version'], { stdio: 'ignore' })
    return process.platform === 'linux'
  } catch {
    return false
  }
}

/** Faults of the machine, for programs that are started with `env`: failing disks and other clocks, from one moment to the next. */
export class Mishaps {
  readonly env: Record<string, string>
  readonly #file: number
  readonly #numbers = new Int32Array(3)

  /** `work`: where its own files lie. `below`: the folder whose files are struck. */
  constructor(work: string, below: string) {
    const [library, control] = [join(work, 'mishaps.so'), join(work, 'mishaps')]
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, join(ROOT, 'e2e', 'support', 'mishaps.c'), '-ldl'])
    writeFileSync(control, Buffer.alloc(12))
    this.#file = openSync(control, 'r+')
    this.env = { LD_PRELOAD: library, MISHAPS: control, MISHAPS_BELOW: below }
  }

  #tell(): void {
    writeSync(this.#file, Buffer.from(this.#numbers.buffer), 0, 12, 0)
  }

  /** One in so many calls on files fails so; 0: none. */
  fail(how: 'EIO' | 'ENOSPC', oneIn: number): void {
    this.#numbers.set([constants.errno[how], oneIn])
    this.#tell()
  }

  /** The wall clock is so many seconds ahead. */
  shiftClock(seconds: number): void {
    this.#numbers[2] = seconds
    this.#tell()
  }

  end(): void {
    this.#numbers.fill(0)
    this.#tell()
    closeSync(this.#file)
  }
}
