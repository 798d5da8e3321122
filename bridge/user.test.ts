import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { readSettings } from './settings'
import { pathOf, userFolder, userName } from './user'

const system = vi.hoisted(() => ({ knowsUser: true }))
vi.mock('node:os', async (original) => {
  const os = await original<typeof import('node:os')>()
  const asked = <T>(answer: () => T) => (): T => {
    if (!system.knowsUser) throw new Error('A system error occurred: uv_os_get_passwd returned ENOENT (no such file or directory)')
    return answer()
  }
  return { ...os, homedir: asked(os.homedir), userInfo: asked(os.userInfo) }
})
afterEach(() => {
  system.knowsUser = true
  vi.unstubAllEnvs()
})

test('`~` is the user’s own folder in every path that is given; what is relative lies in the current one', () => {
  const settings = (given: Record<string, string>, env: Record<string, string> = {}) => readSettings(given, env)
  expect(pathOf('~')).toBe(homedir())
  expect(settings({ home: '~/envs' }).home).toBe(join(homedir(), 'envs'))
  expect(settings({}, { COMFY_ENV_HOME: '~/a/../envs' }).home).toBe(join(homedir(), 'envs'))
  expect(settings({}, { COMFY_ENV_HOME: 'envs', COMFY_ENV_CACHE: '~/no-such-downloads' })).toMatchObject({ home: resolve('envs'), cache: join(homedir(), 'no-such-downloads') })
  expect(settings({}, { COMFY_ENV_HOME: '/x/~y' }).home).toBe('/x/~y')
})

test('a user whom the system does not know has no name and no folder, and everything else works', () => {
  system.knowsUser = false
  vi.stubEnv('USER', undefined)
  expect([userName(), userFolder(), pathOf('~/envs')]).toEqual(['', null, resolve('~/envs')])
  expect(readSettings({}, {}).home).toBe(resolve('.comfyui-envmanager'))
})
