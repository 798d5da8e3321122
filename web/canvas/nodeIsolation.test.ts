import { expect, test } from 'vitest'
import type { PackInfo } from '../../schemas/pack'
import { type CanvasNode, menuItems, nodeIsolated, type NodeWorld, PROPERTY, toggle } from './nodeIsolation'

const pack = (isolated: boolean, apart: Record<string, boolean> = {}, proxied = false) =>
  ({ id: 'grain', isolation: { state: isolated ? 'on' : 'off' }, class_isolation: apart, import_error: null, proxied }) as unknown as PackInfo
const world = (info: PackInfo): NodeWorld => ({ packOf: (type) => (type === 'KSampler' ? undefined : 'grain'), pack: () => info })
const node = (choice?: boolean, type = 'Grain'): CanvasNode => ({ type, properties: choice === undefined ? {} : { [PROPERTY]: choice } })

test('the nearest choice wins: node, then class, then pack', () => {
  expect(nodeIsolated(world(pack(true)), node())).toBe(true)
  expect(nodeIsolated(world(pack(true, { Grain: false })), node())).toBe(false)
  expect(nodeIsolated(world(pack(true, { Grain: false })), node(true))).toBe(true)
  expect(nodeIsolated(world(pack(false)), node(false))).toBe(false)
})

test.each(['constructor', 'toString', '__proto__'])('a node class %s is as its pack unless it is set apart', (name) => {
  expect(nodeIsolated(world(pack(false)), node(undefined, name))).toBe(false)
  expect(nodeIsolated(world(pack(true, Object.fromEntries([[name, false]]))), node(undefined, name))).toBe(false)
})

test('a node of a pack that ComfyUI has not imported runs isolated, whatever was chosen, and is not chosen for', () => {
  const only = world(pack(true, { Grain: false }, true))
  const [chosen, plain] = [node(false), node()]
  expect([nodeIsolated(only, chosen), nodeIsolated(only, plain)]).toEqual([true, true])
  expect(toggle(only, [plain])).toBe('only-isolated')
  expect(plain.properties).toEqual({})
  expect(menuItems(only, plain)[1]?.submenu?.options.map((item) => item?.disabled)).toEqual([false, false, true])
})

test('ComfyUI’s own nodes have no such choice', () => {
  expect(menuItems(world(pack(true)), node(undefined, 'KSampler'))).toEqual([])
  expect(toggle(world(pack(true)), [node(undefined, 'KSampler')])).toBe('not-ours')
})

test('the menu marks what holds, and choosing changes the node', () => {
  const one = node()
  const options = (): (string | undefined)[] => menuItems(world(pack(false)), one)[1]?.submenu?.options.map((item) => item?.content) ?? []
  expect(options()).toEqual(['● As its class (in ComfyUI)', '○ Isolated', '○ In ComfyUI'])
  menuItems(world(pack(false)), one)[1]?.submenu?.options[1]?.callback?.()
  expect(options()).toEqual(['○ As its class (in ComfyUI)', '● Isolated', '○ In ComfyUI'])
})

test('one click isolates a mixed selection, the next brings it back', () => {
  const nodes = [node(true), node()]
  toggle(world(pack(false)), nodes)
  expect(nodes.map((each) => nodeIsolated(world(pack(false)), each))).toEqual([true, true])
  toggle(world(pack(false)), nodes)
  expect(nodes.map((each) => nodeIsolated(world(pack(false)), each))).toEqual([false, false])
})
