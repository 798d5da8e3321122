import { valueOf } from '../../schemas/byName'
import { t } from '../i18n'
import type { PackInfo } from '../../schemas/pack'

/** The property of a node that holds the user's choice; saved with the workflow, and read by the shim (`choices.py`). */
export const PROPERTY = 'envmanager_isolated'

/** What we use of a node on the canvas (LiteGraph's `LGraphNode`). */
export interface CanvasNode {
  type?: string | null
  /** The node class; it is there before `type` is. */
  comfyClass?: string
  title?: string
  properties?: Record<string, unknown>
  badges?: unknown[]
  setDirtyCanvas?: (foreground: boolean, background: boolean) => void
}

export interface MenuItem {
  content: string
  disabled?: boolean
  callback?: () => void
  has_submenu?: boolean
  submenu?: { options: (MenuItem | null)[] }
}

/** Where node classes come from, and how their packs stand. */
export interface NodeWorld {
  /** The pack of a node class; undefined: it is ComfyUI's own. */
  packOf: (type: string) => string | undefined
  pack: (id: string) => PackInfo | undefined
}

export const classOf = (node: CanvasNode): string => node.comfyClass ?? node.type ?? ''

const choiceOf = (node: CanvasNode): boolean | undefined => (typeof node.properties?.[PROPERTY] === 'boolean' ? node.properties[PROPERTY] : undefined)

/** Whether nodes of a class run isolated unless they have chosen otherwise. */
function classIsolated(world: NodeWorld, type: string): boolean {
  const id = world.packOf(type)
  const pack = id === undefined ? undefined : world.pack(id)
  return (pack && valueOf(pack.class_isolation, type)) ?? pack?.isolation.state === 'on'
}

/** ComfyUI has not imported the pack, so its nodes can run in a worker only. */
const onlyIsolated = (world: NodeWorld, type: string): boolean => {
  const id = world.packOf(type)
  const pack = id === undefined ? undefined : world.pack(id)
  return pack?.proxied === true
}

/** Whether a node runs isolated: its own choice before its class's before its pack's. */
export function nodeIsolated(world: NodeWorld, node: CanvasNode): boolean {
  const type = classOf(node)
  if (world.packOf(type) === undefined) return false
  if (onlyIsolated(world, type)) return true
  return choiceOf(node) ?? classIsolated(world, type)
}

export function choose(node: CanvasNode, choice: boolean | undefined): void {
  node.properties ??= {}
  if (choice === undefined) delete node.properties[PROPERTY]
  else node.properties[PROPERTY] = choice
  node.setDirtyCanvas?.(true, true)
}

/** Isolates the nodes if one of them is not, else brings them back. What it did, or why it could not: none is of a pack, or none can run in ComfyUI. */
export function toggle(world: NodeWorld, nodes: CanvasNode[]): 'done' | 'not-ours' | 'only-isolated' {
  const ours = nodes.filter((node) => world.packOf(classOf(node)) !== undefined)
  const free = ours.filter((node) => !onlyIsolated(world, classOf(node)))
  const on = free.some((node) => !nodeIsolated(world, node))
  free.forEach((node) => choose(node, on))
  if (free.length > 0) return 'done'
  return ours.length > 0 ? 'only-isolated' : 'not-ours'
}

/** The entry of a node's menu: three choices, the one that holds marked. Empty for ComfyUI's own nodes. */
export function menuItems(world: NodeWorld, node: CanvasNode): (MenuItem | null)[] {
  const type = classOf(node)
  if (world.packOf(type) === undefined) return []
  const now = choiceOf(node)
  const fixed = onlyIsolated(world, type)
  const item = (label: string, choice: boolean | undefined): MenuItem => ({
    content: `${now === choice ? '● ' : '○ '}${label}`,
    disabled: fixed && choice === false,
    callback: () => choose(node, choice),
  })
  const options = [item(t.nodeAsClass(fixed || classIsolated(world, type)), undefined), item(t.isolated, true), item(t.inside, false)]
  return [null, { content: t.nodeMenu, has_submenu: true, submenu: { options } }]
}
