/** The only file that touches the host. Typed by hand: the frontend's own type packages cannot be installed. */
import { app as hostApp } from '../../scripts/app.js'
import { api as hostApi } from '../../scripts/api.js'

interface SidebarTab {
  id: string
  icon: string
  title: string
  tooltip: string
  label: string
  type: 'custom'
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
  function: () => void
}

interface Extension {
  name: string
  commands: Command[]
  bottomPanelTabs: BottomPanelTab[]
  setup: () => void
}

interface App {
  registerExtension: (extension: Extension) => void
  extensionManager: {
    registerSidebarTab: (tab: SidebarTab) => void
    command: { execute: (id: string) => Promise<void> }
    bottomPanel?: { toggleBottomPanelTab: (id: string) => void; activeBottomPanelTabId?: string | null; bottomPanelVisible?: boolean }
    dialog: { confirm: (options: { title: string; message: string; type: 'default'; itemList?: string[] }) => Promise<boolean | null> }
    toast: { add: (message: { severity: 'success' | 'info' | 'warn' | 'error'; summary: string; detail: string; life: number }) => void }
  }
}

interface Api {
  apiURL: (path: string) => string
}

const app = hostApp as App
const api = hostApi as Api

export const registerExtension = (extension: Extension): void => app.registerExtension(extension)
export const registerSidebarTab = (tab: SidebarTab): void => app.extensionManager.registerSidebarTab(tab)

/** Address of a WebSocket route of ours on ComfyUI's own origin, also below a sub-path. */
export function socketUrl(path: string): string {
  const url = new URL(api.apiURL(path), location.href)
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
  return url.href
}

/** Makes the frontend know node classes that have come or gone. */
export const refreshNodeDefinitions = (): Promise<void> => app.extensionManager.command.execute('Comfy.RefreshNodeDefinitions')

export const toggleSidebarTab = (id: string): Promise<void> => app.extensionManager.command.execute(`Workspace.ToggleSidebarTab.${id}`)

/** Brings a tab of the bottom panel to the front, without closing it if it is there already. */
export function showBottomTab(id: string): void {
  const panel = app.extensionManager.bottomPanel
  if (panel?.bottomPanelVisible && panel.activeBottomPanelTabId === id) return
  panel?.toggleBottomPanelTab(id)
}

export async function confirm(title: string, message: string, items: string[]): Promise<boolean> {
  return (await app.extensionManager.dialog.confirm({ title, message, type: 'default', itemList: items })) === true
}

export function toastError(summary: string, detail: string): void {
  app.extensionManager.toast.add({ severity: 'error', summary, detail, life: 10_000 })
}
