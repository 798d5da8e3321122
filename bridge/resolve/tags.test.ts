import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { platformFamily, rankedTags, requiredGlibc, type TagTarget } from './tags'

interface Environment extends TagTarget {
  name: string
  count: number
  sha256: string
}

const { environments } = JSON.parse(readFileSync(join(import.meta.dirname, 'testdata', 'tagLists.json'), 'utf8')) as { environments: Environment[] }

test.each(environments)('$name: the same tags in the same order as packaging', ({ count, sha256, ...target }) => {
  const tags = [...rankedTags(target).keys()]
  expect(tags).toHaveLength(count)
  expect(createHash('sha256').update(tags.join('\n')).digest('hex')).toBe(sha256)
})

test('glibc and family of platform tags', () => {
  expect(requiredGlibc(['manylinux_2_24_x86_64', 'manylinux_2_28_x86_64'])).toBe('2.24')
  expect(requiredGlibc(['manylinux2014_x86_64'])).toBe('2.17')
  expect(requiredGlibc(['win_amd64'])).toBeNull()
  expect(['manylinux_2_28_aarch64', 'linux_x86_64', 'manylinux1_x86_64', 'win_amd64'].map(platformFamily)).toEqual(['linux_aarch64', 'linux_x86_64', 'linux_x86_64', 'win_amd64'])
})
