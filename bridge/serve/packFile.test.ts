import { expect, test } from 'vitest'
import { packFile } from './packFile'

// the same in python_shim/tests/test_odd_packs.py
test.each([
  ['ComfyUI-Easy-Use', 'ComfyUI-Easy-Use'],
  ['a_b.c', 'a_b.c'],
  ['__proto__', '__proto__'],
  ['ComfyUI-中文节点', '~97d9b965242467ea60ab628e80f56ef0'],
  ['pack\udcff', '~09511277b0fc8536bb9719bd78b81aba'],
  ['../evil', '~d25c8ca00e439389804d232be5fa2765'],
  ['.hidden', '~18eae0b559f01698769ab387bad94898'],
  ['CON', '~00831bf9bbb8e2d86cde58aa0e81e880'],
  ['com1.x', '~78e793d816e93aed6d830103e1c12daf'],
  ['x\n', '~cb21f0a0201dcca261b9b1082fb7c095'],
  ['x'.repeat(200), '~1b81f791414c08a831b946bb72efbc95'],
])('%j has files of a name that is safe', (pack, name) => {
  expect(packFile(pack)).toBe(name)
})
