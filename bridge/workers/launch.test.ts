import { expect, test } from 'vitest'
import { launchOf } from './launch'
import type { WorkerSpec } from './workerSpec'

const SANDBOX = { bwrap: '/usr/bin/bwrap', network: false, readable: [], writable: [], hidden: [] }
const spec = (variables: Record<string, string>, sandbox: WorkerSpec['sandbox']): WorkerSpec => ({
  id: 'a#1', env: null, generation: null, check: async () => undefined, leave: () => undefined, python: '/usr/bin/python3', shim: '/shim', packs: [], variables, memoryBytes: null, sandbox, segments: null, classes: '/home/run/classes.json', socket: () => null, straight: null,
}) // prettier-ignore

test('a sandboxed pack’s variables are set inside only: bubblewrap would heed its LD_PRELOAD outside', () => {
  const { command, args, env } = launchOf(spec({ LD_PRELOAD: '/pack/evil.so', STYLE: 'x', ENVMANAGER_OWNER: 'other' }, SANDBOX), 'me', null)
  expect(command).toBe('/usr/bin/bwrap')
  expect(env).not.toHaveProperty('LD_PRELOAD')
  expect(args.join(' ')).toMatch(/--setenv LD_PRELOAD \/pack\/evil\.so --setenv STYLE x .*-- \/usr\/bin\/python3/)
  expect([env.ENVMANAGER_OWNER, args.includes('ENVMANAGER_OWNER')]).toEqual(['me', false])
})

test('without a sandbox they are the process’s, and ours go before them', () => {
  const { command, env } = launchOf(spec({ STYLE: 'x', ENVMANAGER_OWNER: 'other' }, null), 'me', null)
  expect([command, env.STYLE, env.ENVMANAGER_OWNER]).toEqual(['/usr/bin/python3', 'x', 'me'])
})

test('Python’s settings of whoever started ComfyUI stay out, but for the order of sets', () => {
  const { env } = launchOf(spec({ PYTHONPATH: '/elsewhere', PYTHONHASHSEED: '0', PIP_INDEX_URL: 'x' }, null), 'me', null)
  expect([env.PYTHONPATH, env.PYTHONHASHSEED, env.PIP_INDEX_URL]).toEqual([undefined, '0', undefined])
})

test('which GPUs ComfyUI sees goes before what it was started with, and what the pack wants before that', () => {
  process.env.CUDA_VISIBLE_DEVICES = '0,1'
  try {
    const folders = { root: '/c', base: '/c', output: '/o', input: '/i', temp: '/t', user: '/u', models: {}, argv: [], started: { environment: { CUDA_VISIBLE_DEVICES: '1' }, dynamic_vram: false } }
    const seen = (variables: Record<string, string>): string | undefined => launchOf(spec(variables, null), 'me', folders).env.CUDA_VISIBLE_DEVICES
    expect([seen({}), seen({ CUDA_VISIBLE_DEVICES: '0' }), launchOf(spec({}, null), 'me', null).env.CUDA_VISIBLE_DEVICES]).toEqual(['1', '0', '0,1'])
  } finally {
    delete process.env.CUDA_VISIBLE_DEVICES
  }
})
