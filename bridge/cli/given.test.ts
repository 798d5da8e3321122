import { expect, test } from 'vitest'
import { COMMANDS, parse } from './given'
import { HELP } from './help'

const names = Object.keys(COMMANDS)

test.each(names.filter((name) => COMMANDS[name]?.words !== Infinity))('a word too many for `%s` is refused, and said', (name) => {
  const words = Array.from({ length: COMMANDS[name]?.words ?? 0 }, (_, at) => `w${at}`)
  expect(parse([name, ...words]).rest).toEqual(words)
  const message = new RegExp(`^comfy-env: ${name} takes (no words|one word|2 words) behind it, and .extra. is one more\\.$`)
  expect(() => parse([name, ...words, 'extra'])).toThrow(expect.objectContaining({ code: 'BAD_USAGE', message: expect.stringMatching(message) }))
})

test('install without --pack says what to do', () => {
  expect(() => parse(['install', '/some/pack'])).toThrow(expect.objectContaining({ code: 'BAD_USAGE', hint: 'Name the folder of a node pack with --pack.' }))
})

test.each([
  [['envs', '--home', '']],
  [['envs', '--home=']],
  [['serve', '--port', '']],
  [['resolve', 'a', '--source', '']],
  [['init', '']],
  [['find', 'a', '--pack', 'b']],
  [['init', 'a', '--dir', 'b']],
  [['install', '--sealed', 'best', '--overlay']],
  [['install', '--in-place', '--sealed', 'best']],
  [['install', '--in-place', '--env', 'a']],
  [['info', '--pack', 'a']],
])('what would do nothing is refused: %j', (args) => {
  expect(() => parse(args)).toThrow(expect.objectContaining({ code: 'BAD_USAGE', message: expect.stringMatching(/^comfy-env: .*\.$/) }))
})

test('help names every command and option that there is, and no other', () => {
  const lines = HELP.split('\n')
  const named = (text: string): string[] => [...text.matchAll(/--([a-z][\w-]*)/g)].map(([, name = '']) => name)
  const said = new Map<string, string[]>()
  let command = ''
  for (const line of lines.slice(0, lines.indexOf('Every command takes'))) {
    const [, first, second] = /^  comfy-env (\S+)(?: \| (\S+))?/.exec(line) ?? []
    if (first) command = second ?? first
    if (first && second) said.set(first, [])
    if (command) said.set(command, [...(said.get(command) ?? []), ...named(line)])
  }
  expect([...said.keys()].sort()).toEqual(names.toSorted())
  for (const [name, options] of said) expect([name, [...new Set(options)].sort()]).toEqual([name, Object.keys(COMMANDS[name]?.options ?? {}).sort()])
  for (const name of named(lines.slice(lines.indexOf('Every command takes')).join('\n'))) expect(() => parse(['info', `--${name}`, ...(['json', 'offline', 'help', 'version'].includes(name) ? [] : ['x'])])).not.toThrow()
})
