import { afterEach, expect, test } from 'vitest'
import { addLocale, t, useLocale } from './index'

afterEach(() => useLocale('en'))

test('a translation shows what it has, and English where it lacks something', () => {
  addLocale('xx', { packs: 'Xpacks', selected: (number) => `${number} x` })
  useLocale('xx-YY')
  expect([t.packs, t.selected(2), t.workers]).toEqual(['Xpacks', '2 x', 'Workers'])
  useLocale('en')
  expect(t.packs).toBe('Node packs')
})

test('a translation that comes late shows at once', () => {
  useLocale('yy')
  addLocale('yy', { packs: 'Ypacks' })
  expect(t.packs).toBe('Ypacks')
})
