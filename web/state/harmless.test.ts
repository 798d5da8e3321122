import { expect, test } from 'vitest'
import { harmless, shown } from './harmless'

test('a pack’s name goes back to the bridge as it is, and every other text is shown as what it is', () => {
  const state = { packs: [{ id: 'a\u202eb', reason: 'x\u202ey', import_error: '\u0007' }], workers: [{ packs: ['a\u202eb'] }], settings: { keep_warm: ['\u001b]0;x\u0007'] } }
  expect(harmless(state)).toEqual({
    packs: [{ id: 'a\u202eb', reason: 'x⟨U+202E⟩y', import_error: '␇' }],
    workers: [{ packs: ['a\u202eb'] }],
    settings: { keep_warm: ['\u001b]0;x\u0007'] },
  })
})

test.each([
  ['ComfyUI-中文节点', 'ComfyUI-中文节点'],
  ['na\nme', 'na␊me'],
  ['rtl\u202egnp', 'rtl⟨U+202E⟩gnp'],
  ['pack\udcff', 'pack⟨U+DCFF⟩'],
  ['emoji🙂', 'emoji🙂'],
  ['\u001b]0;x\u0007', '␛]0;x␇'],
])('the pack %j is shown as %s', (name, text) => {
  expect(shown(name)).toBe(text)
})
