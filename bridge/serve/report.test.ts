import { expect, test } from 'vitest'
import { hide } from './report'

const names = { user: 'adalove', home: '/home/adalove', host: 'study-pc' }
const shown = (text: string): string => hide(text, names).map((part) => part.text).join('')

test('a person’s name, home and computer are hidden, and the report says where', () => {
  expect(shown('/home/adalove/ComfyUI on study-pc by adalove')).toBe('~/ComfyUI on *** by ***')
  expect(hide('at /home/adalove/x', names)).toEqual([
    { text: 'at ', hidden: null },
    { text: '~', hidden: 'user' },
    { text: '/x', hidden: null },
  ])
})

test('other people’s homes are hidden as well, on every system', () => {
  expect(shown('/home/bob/a, C:\\Users\\Bob B\\x, /Users/eve/y')).not.toMatch(/bob|Bob| B|eve/)
})

test('a secret is hidden and marked as one', () => {
  expect(hide('token=abcdef123456 end', names)).toEqual([
    { text: 'token=', hidden: null },
    { text: '***', hidden: 'secret' },
    { text: ' end', hidden: null },
  ])
})

test('names that say nothing stay: root is no person', () => {
  expect(hide('root of the tree', { user: 'root', home: '/root', host: 'localhost' })).toEqual([{ text: 'root of the tree', hidden: null }])
})
