import { expect, test } from 'vitest'
import type { Fingerprint } from '../../schemas/host'
import { markerHolds } from './markers'

const here = {
  python: { version: '3.12.4', tag: 'cp312', abi: 'cp312', executable: '', source: '' },
  platform: { tag: 'win_amd64', os: 'windows', arch: 'AMD64', glibc: null },
} as Fingerprint

test.each([
  [null, true],
  ['python_version < "3.13"', true],
  ['python_version >= "3.13"', false],
  ["sys_platform == 'win32'", true],
  ['platform_system != "Windows"', false],
  ['python_version >= "3.10" and sys_platform == "linux"', false],
  ['sys_platform == "linux" or os_name == "nt"', true],
  ['(sys_platform == "linux" or os_name == "nt") and python_version > "3.12"', false],
  ['"AMD" in platform_machine', true],
  ['platform_machine not in "x86_64 aarch64"', true],
  ['extra == "dev"', false],
  ['nonsense', true],
])('%s', (marker, expected) => {
  expect(markerHolds(marker, here)).toBe(expected)
})
