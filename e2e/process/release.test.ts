/** The release as a user gets it. That it runs is tested in the browser: `e2e/specs/release.spec.ts`. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { unpackRelease } from '../support/release.ts'

let folder: string
let unpacked: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'envmanager-release-'))
  unpacked = unpackRelease(folder)
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

test('nothing of development is in it', () => {
  expect(readdirSync(unpacked).sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', '__init__.py', 'bridge', 'docs', 'install.py', 'prestartup_script.py', 'pyproject.toml', 'python_shim', 'requirements.txt', 'web'])
  expect(existsSync(join(unpacked, 'python_shim', 'tests'))).toBe(false)
  expect(readdirSync(join(unpacked, 'web', 'dist'))).toEqual(['envmanager.js'])
})

test('its program runs, and keeps what was compiled for the next start', () => {
  const program = join(unpacked, 'bridge', 'dist', 'comfy-env.mjs')
  const version = (): string => execFileSync(process.execPath, [program, '--version'], { encoding: 'utf8' }).trim()
  expect(version()).toMatch(/^\d+\.\d+\.\d+$/)
  const kept = join(unpacked, 'bridge', 'dist', 'compiled')
  expect(readdirSync(kept)).toHaveLength(1)
  rmSync(kept, { recursive: true })
  writeFileSync(kept, '') // no folder can be made there
  expect(version()).toMatch(/^\d+\.\d+\.\d+$/)
})
