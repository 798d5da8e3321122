/** The only file that touches the host. Typed by hand: the frontend's own type packages cannot be installed. */
import { app as hostApp } from '../../scripts/app.js'
import { api as hostApi } from '../../scripts/api.js'
import type { CanvasNode, MenuItem } from '../canvas/nodeIsolation'
import type { Setting } from '../hostSettings'
import type { Place } from '../unknownFrontend'

interface SidebarTab {
  id: string
  icon: string
  title: string
  tooltip: string
  label: string
  type: 'custom'
  iconBadge?: string | null
  render: (element: HTMLElement) => void
  destroy: () => void
}

interface BottomPanelTab {
  id: string
  title: string
  type: 'custom'
  render: (element: HTMLElement) => void
  destroy: () => void
}

interface Command {
  id: string
  label: string
  icon: string
  tooltip?: string
  function: () => void
}

interface NodeDef {
  name?: string
  /** `custom_nodes.<folder>` for a node pack. */
  python_module?: string
}

interface Extension {
  name: string
  commands: Command[]
  keybindings: { commandId: string; combo: { key: string; ctrl?: boolean; alt?: boolean; shift?: boolean } }[]
  menuCommands: { path: string[]; commands: string[] }[]
  settings: Setting[]
  bottomPanelTabs: BottomPanelTab[]
  aboutPageBadges: { label: string; url: string; icon: string }[]
  getSelectionToolboxCommands: (item: CanvasNode) => string[]
  getNodeMenuItems: (node: CanvasNode) => (MenuItem | null)[]
  beforeRegisterNodeDef: (nodeType: unknown, nodeData: NodeDef) => void
  nodeCreated: (node: CanvasNode) => void
  setup: () => void
}

interface Toast {
  severity: 'success' | 'info' | 'warn' | 'error'
  summary: string
  detail: string
  /** Milliseconds. */
  life: number
}

/** What we use of the frontend. All of it may be absent in one that we do not know (`unknownFrontend.ts`). */
interface App {
  registerExtension?: (extension: Extension) => void
  canvas?: { selected_nodes?: Record<string, CanvasNode>; setDirty?: (foreground: boolean, background: boolean) => void }
  extensionManager?: {
    registerSidebarTab?: (tab: SidebarTab) => void
    getSidebarTabs?: () => SidebarTab[]
    sidebarTab?: { activeSidebarTabId?: string | null }
    command?: { execute?: (id: string) => Promise<void> }
    bottomPanel?: { toggleBottomPanelTab?: (id: string) => void; activeBottomPanelTabId?: string | null; bottomPanelVisible?: boolean }
    setting?: { get?: (id: string) => unknown; set?: (id: string, value: unknown) => Promise<void> }
    toast?: { add?: (message: Toast) => void; remove?: (message: Toast) => void }
  }
}

interface Api {
  apiURL?: (path: string) => string
  addEventListener?: (event: string, heard: (event: CustomEvent<unknown>) => void) => void
}

const app = (hostApp ?? {}) as App
const api = (hostApi ?? {}) as Api

/** Each place of the frontend that we use, by its name there; undefined: it has none. */
export const places = (): Record<Place, unknown> => ({
  'app.registerExtension': app.registerExtension,
  'app.extensionManager.registerSidebarTab': app.extensionManager?.registerSidebarTab,
  'app.extensionManager.command.execute': app.extensionManager?.command?.execute,
  'app.extensionManager.bottomPanel.toggleBottomPanelTab': app.extensionManager?.bottomPanel?.toggleBottomPanelTab,
  'app.extensionManager.setting.get': app.extensionManager?.setting?.get,
  'app.extensionManager.setting.set': app.extensionManager?.setting?.set,
  'app.extensionManager.toast.add': app.extensionManager?.toast?.add,
  'api.apiURL': api.apiURL,
  'api.addEventListener': api.addEventListener,
  LGraphBadge: badge(),
})

export const registerExtension = (extension: Extension): void => app.registerExtension?.(extension)
export const registerSidebarTab = (tab: SidebarTab): void => app.extensionManager?.registerSidebarTab?.(tab)

/** A number on the tab's icon; null clears it. The host's own reactive object is changed: a function of ours would not be seen to change. */
export function setSidebarBadge(id: string, badge: string | null): void {
  const tab = app.extensionManager?.getSidebarTabs?.().find((one) => one.id === id)
  if (tab) tab.iconBadge = badge
}

/** Address of a WebSocket route of ours on ComfyUI's own origin, also below a sub-path. */
export function socketUrl(path: string): string {
  const url = new URL(api.apiURL?.(path) ?? `./api${path}`, location.href)
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
  return url.href
}

const execute = (command: string): Promise<void> | undefined => app.extensionManager?.command?.execute?.(command)

/** Makes the frontend know node classes that have come or gone. */
export const refreshNodeDefinitions = (): Promise<void> | undefined => execute('Comfy.RefreshNodeDefinitions')

export const toggleSidebarTab = (id: string): Promise<void> | undefined => execute(`Workspace.ToggleSidebarTab.${id}`)

/** Opens the sidebar tab, if it is not open. */
export async function showSidebarTab(id: string): Promise<void> {
  if (app.extensionManager?.sidebarTab?.activeSidebarTabId !== id) await toggleSidebarTab(id)
}

/** Brings a tab of the bottom panel to the front, without closing it if it is there already. */
export function showBottomTab(id: string): void {
  const panel = app.extensionManager?.bottomPanel
  if (panel?.bottomPanelVisible && panel.activeBottomPanelTabId === id) return
  panel?.toggleBottomPanelTab?.(id)
}

/** An error is never lost: without toasts it is in the browser's console. */
export function toastError(summary: string, detail: string): void {
  const { add } = app.extensionManager?.toast ?? {}
  if (!add) console.error(`${summary}: ${detail}`)
  app.extensionManager?.toast?.add?.({ severity: 'error', summary, detail, life: 10_000 })
}

export function toastInfo(summary: string): void {
  app.extensionManager?.toast?.add?.({ severity: 'info', summary, detail: '', life: 4000 })
}

/** Told of each event of ours for this browser, with its data. */
export const onEvent = (name: string, told: (data: unknown) => void): void => api.addEventListener?.(`envmanager.${name}`, ({ detail }) => told(detail))

/** Not every frontend can take a notice away (1.58 cannot): one that lasts is shown again and again, for this long each. */
const SHOWN_MS = 6000
let lasting: { notice: Toast; again: ReturnType<typeof setInterval> } | null = null

/** One notice that stays until there is another one, or none (null). */
export function toastLasting(summary: string | null): void {
  const toast = app.extensionManager?.toast
  if (lasting) {
    clearInterval(lasting.again)
    toast?.remove?.(lasting.notice)
    lasting = null
  }
  if (summary === null) return
  const notice: Toast = { severity: 'info', summary, detail: '', life: SHOWN_MS }
  toast?.add?.(notice)
  lasting = { notice, again: setInterval(() => toast?.add?.(notice), SHOWN_MS) }
}

/** A setting of the host; undefined while it has none of that name. */
export function getSetting(id: string): unknown {
  try {
    return app.extensionManager?.setting?.get?.(id)
  } catch {
    return undefined
  }
}

export const setSetting = (id: string, value: unknown): Promise<void> | undefined => app.extensionManager?.setting?.set?.(id, value)

export const selectedNodes = (): CanvasNode[] => Object.values(app.canvas?.selected_nodes ?? {})

/** Draws the canvas again: badges may have changed. */
export const redraw = (): void => app.canvas?.setDirty?.(true, true)

interface BadgeOptions {
  text: string
  bgColor: string
  fgColor: string
}

const badge = () => (window as unknown as { LGraphBadge?: new (options: BadgeOptions) => unknown }).LGraphBadge

/** A badge on a node whose text is asked for at each drawing; an empty one is not drawn. */
export function addBadge(node: CanvasNode, text: () => string): void {
  const Badge = badge()
  if (Badge) node.badges?.push(() => new Badge({ text: text(), bgColor: '#4f46b8', fgColor: '#ffffff' }))
}

/** Frontends before 1.30 know no `getNodeMenuItems`; there the class's own menu is added to. Later ones would show it twice. */
export function addOldNodeMenu(nodeType: unknown, items: (node: CanvasNode) => (MenuItem | null)[]): void {
  const [major = 0, minor = 0] = String((window as unknown as { __COMFYUI_FRONTEND_VERSION__?: string }).__COMFYUI_FRONTEND_VERSION__ ?? '').split('.').map(Number)
  if (major > 1 || (major === 1 && minor >= 30)) return
  const prototype = (nodeType as { prototype?: { getExtraMenuOptions?: (canvas: unknown, options: unknown[]) => unknown } }).prototype
  if (!prototype) return
  const before = prototype.getExtraMenuOptions
  prototype.getExtraMenuOptions = function (this: CanvasNode, canvas: unknown, options: unknown[]) {
    const result = before?.call(this, canvas, options)
    options.push(...items(this))
    return result
  }
}
