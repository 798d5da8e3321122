import { expect, test } from 'vitest'
import { z } from 'zod'
import { byName, valueOf } from './byName'
import { StateFile } from './connection'

const NAMES = '{"__proto__":true,"constructor":false,"toString":true,"a":false}'

test('whatever a name is, it is kept', () => {
  const read = byName(z.boolean()).parse(JSON.parse(NAMES))
  expect(JSON.stringify(read, ['__proto__', 'constructor', 'toString', 'a'])).toBe(NAMES)
  expect([valueOf(read, '__proto__'), valueOf(read, 'constructor'), valueOf(read, 'hasOwnProperty')]).toEqual([true, false, undefined])
})

test('what is wrong under such a name is refused', () => {
  expect(byName(z.boolean()).safeParse(JSON.parse('{"__proto__":1}')).success).toBe(false)
  for (const other of [null, 1, 'x', []]) expect(byName(z.boolean()).safeParse(other).success).toBe(false)
})

test('the choices of a pack and of a class of that name come back as they were written', () => {
  const text = '{"schema":1,"isolated":["__proto__"],"classes":{"__proto__":{"__proto__":true},"constructor":{"a":false}}}'
  expect(JSON.stringify(StateFile.parse(JSON.parse(text)))).toBe(text)
})
