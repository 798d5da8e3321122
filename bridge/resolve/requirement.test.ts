import { expect, test } from 'vitest'
import { parseRequirement } from './requirement'

test.each([
  ['numpy', { name: 'numpy', specifier: '', extras: [], marker: null }],
  ['Torch_Scatter == 2.1.2', { name: 'torch-scatter', specifier: '==2.1.2' }],
  ['pytorch3d>=0.7.8', { specifier: '>=0.7.8' }],
  ['f>=1, <2', { specifier: '>=1,<2' }],
  ['x (>=1.0)', { specifier: '>=1.0' }],
  ['a[b,c]~=1.4 ; python_version < "3.13"', { extras: ['b', 'c'], marker: 'python_version < "3.13"' }],
  ['x==1.0+cu128torch2.8', { specifier: '==1.0+cu128torch2.8' }],
  ['x===1.0', { specifier: '===1.0' }],
  ['x @ https://h/x.whl ; os_name == "nt"', { url: 'https://h/x.whl', marker: 'os_name == "nt"' }],
  ['numpy  # the array library', { name: 'numpy' }],
])('%s', (text, expected) => {
  expect(parseRequirement(text)).toMatchObject(expected)
})

const REFUSED = ['--index-url=https://evil', '-r /etc/passwd', '-e .', './local', '/etc/passwd', '$(id)', '`id`', 'a;b;c|d && e'.slice(6), 'a\nb', 'a\0b', '', '==1.0', 'name ==', 'x>1 y', 'http://h/x.whl', '../x', 'x[', '{name}', '--extra-index-url https://evil', '-i https://evil', '--find-links=/tmp', '-f https://evil', '-c constraints.txt', '--no-index', '--trusted-host evil', 'git+https://evil/x.git', 'file:///etc/passwd', '~/x', 'C:\\x', '\\\\host\\share', '%PATH%', '${HOME}', 'x; rm -rf /', 'x && id', 'x | id', 'x > /tmp/y', 'x\r--index-url=https://evil', '\u202ex', '-', '--']
test.each(REFUSED)('%j is refused', (text) => {
  expect(() => parseRequirement(text)).toThrow(/^The requirement `/)
})
