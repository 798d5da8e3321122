import { createPinia } from 'pinia'
import { type App, type Component, createApp } from 'vue'
import * as comfy from './comfy/comfyApi'
import { en } from './i18n/en'
import LogPanel from './LogPanel.vue'
import css from './panel.css?inline'
import { connectBridge } from './rpc/wsBridge'
import SidebarPanel from './SidebarPanel.vue'
import { useBridgeStore } from './stores/bridgeStore'

const SIDEBAR = 'envmanager'
const LOG = 'envmanager-log'
const pinia = createPinia()

/** The host calls render at each opening and destroy at each closing; what the panel knows outlives both. */
function mountable(component: Component): { render: (element: HTMLElement) => void; destroy: () => void } {
  let app: App | null = null
  return {
    render: (element) => {
      element.style.height = '100%'
      app?.unmount()
      app = createApp(component)
      app.use(pinia).mount(element)
    },
    destroy: () => {
      app?.unmount()
      app = null
    },
  }
}

function setup(): void {
  const style = document.createElement('style')
  style.textContent = css
  document.head.append(style)
  useBridgeStore(pinia).start((events) => connectBridge(comfy.socketUrl('/envmanager/ws'), events), {
    confirm: comfy.confirm,
    toastError: comfy.toastError,
    refreshNodes: () => void comfy.refreshNodeDefinitions(),
    showLog: () => comfy.showBottomTab(LOG),
  })
  comfy.registerSidebarTab({
    id: SIDEBAR,
    icon: 'pi pi-box',
    title: en.tab,
    tooltip: en.tabTooltip,
    label: en.tab,
    type: 'custom',
    ...mountable(SidebarPanel),
  })
}

comfy.registerExtension({
  name: 'comfyui-envmanager',
  commands: [
    { id: 'EnvManager.Open', label: en.openPanel, icon: 'pi pi-box', function: () => void comfy.toggleSidebarTab(SIDEBAR) },
    { id: 'EnvManager.Log', label: en.openLog, icon: 'pi pi-list', function: () => comfy.showBottomTab(LOG) },
  ],
  bottomPanelTabs: [{ id: LOG, title: en.logTab, type: 'custom', ...mountable(LogPanel) }],
  setup,
})
