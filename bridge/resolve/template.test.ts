import { expect, test } from 'vitest'
import type { Fingerprint } from '../../schemas/host'
import { parseRequirement } from './requirement'
import { makeTarget } from './target'
import { fillTemplate, fillText } from './template'

const machine: Fingerprint = { python: { version: '3.12.4', tag: 'cp312', abi: 'cp312', executable: '', source: '' }, platform: { tag: 'linux_x86_64', os: 'linux', arch: 'x86_64', glibc: '2.36' }, torch: null, cuda: null, gpus: [] }
const target = makeTarget(machine)

test.each(['__proto__', 'constructor', 'toString'])('a variable {%s} is known no more than another', (name) => {
  expect(() => fillText(`{${name}}`, target, {}, 'x.toml')).toThrow(`the variable {${name}} in \`{${name}}\` is not known`)
  expect(() => fillTemplate(`https://x/{${name}}`, parseRequirement('ff'), target)).toThrow(`{${name}} in https://x/{${name}} is not known`)
})
