import { createPinia } from 'pinia'
import { type App, type Component, createApp, watch } from 'vue'
import { classOf, menuItems, nodeIsolated, type NodeWorld, toggle } from './canvas/nodeIsolation'
import * as comfy from './comfy/comfyApi'
import { probe, stepIn } from './unknownFrontend'
import { hostSettings } from './hostSettings'
import { addLocale, t, useLocale } from './i18n'
import { placeIn } from './log/link'
import LogPanel from './LogPanel.vue'
import css from './panel.css?inline'
import { connectBridge } from './rpc/wsBridge'
import SidebarPanel from './SidebarPanel.vue'
import { shown } from './state/harmless'
import { needsAttention } from './state/packList'
import { useBridgeStore } from './stores/bridgeStore'
import { useLogStore } from './stores/logStore'
import { useUiStore } from './stores/uiStore'

const SIDEBAR = 'envmanager'
const LOG = 'envmanager-log'
const TOGGLE = 'EnvManager.ToggleNode'
const pinia = createPinia()
const bridge = useBridgeStore(pinia)

Object.assign(window, { comfyEnvManager: { addLocale } })
useLocale(String(comfy.getSetting('Comfy.Locale') ?? 'en'))

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

/** Without an extension of ours the frontend has none of our settings to show. */
const isRegistrable = typeof comfy.places()['app.registerExtension'] === 'function'
const settings = hostSettings((changed) => void bridge.ask('settings.set', changed))
/** Node class → the folder of its pack. */
const packOfClass = new Map<string, string>()
const world: NodeWorld = {
  packOf: (type) => packOfClass.get(type),
  pack: (id) => bridge.state?.packs.find((pack) => pack.id === id),
}

async function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  // a page that is no secure context, as ComfyUI over plain http on another machine is
  const area = document.createElement('textarea')
  area.value = text
  ;(document.querySelector('dialog[open]') ?? document.body).append(area)
  area.select()
  document.execCommand('copy')
  area.remove()
}

/** The number of packs that need attention, on the tab's icon. */
function watchBadge(): void {
  watch(
    () => (bridge.state?.packs ?? []).filter(needsAttention).length,
    (number) => comfy.setSidebarBadge(SIDEBAR, number > 0 ? String(number) : null),
    { immediate: true },
  )
  watch(
    () => bridge.state?.packs.map(({ id, isolation, class_isolation }) => [id, isolation.state, class_isolation]),
    () => comfy.redraw(),
  )
}

/** An address may name a line of a log (`log/link.ts`): it is shown. */
function followLink(): void {
  const place = placeIn(location.href)
  if (!place) return
  void useLogStore(pinia).select(place.log, place.seq)
  comfy.showBottomTab(LOG)
}

/** A workflow of this browser waits for packs that load for the first time (`shim/first_loads.py`). */
function showWaiting(data: unknown): void {
  const { packs } = data as { packs: string[] }
  comfy.toastLasting(packs.length > 0 ? t.promptWaits(packs.map(shown).join(', ')) : null)
}

function setup(): void {
  probe(comfy.places())
  stepIn('api.addEventListener', () => comfy.onEvent('waiting', showWaiting))
  const style = document.createElement('style')
  style.textContent = css
  document.head.append(style)
  bridge.start((events) => connectBridge(comfy.socketUrl('/envmanager/ws'), events), {
    toastError: comfy.toastError,
    refreshNodes: () => void comfy.refreshNodeDefinitions(),
    showLog: () => comfy.showBottomTab(LOG),
    settingsChanged: (now) => isRegistrable && settings.show(now, (id, value) => void (comfy.getSetting(id) !== value && comfy.setSetting(id, value))),
    copy,
  })
  stepIn('app.extensionManager.registerSidebarTab', () => comfy.registerSidebarTab({ id: SIDEBAR, icon: 'pi pi-box', title: t.tab, tooltip: t.tabTooltip, label: t.tab, type: 'custom', ...mountable(SidebarPanel) }))
  watchBadge()
  followLink()
}

function toggleSelected(): void {
  const outcome = toggle(world, comfy.selectedNodes())
  if (outcome !== 'done') comfy.toastInfo(outcome === 'not-ours' ? t.nodeNotOurs : t.nodeOnlyIsolated)
}

function openCare(): void {
  useUiStore(pinia).view = 'care'
  void comfy.showSidebarTab(SIDEBAR)
}

const extension: Parameters<typeof comfy.registerExtension>[0] = {
  name: 'comfyui-envmanager',
  commands: [
    { id: 'EnvManager.Open', label: t.openPanel, icon: 'pi pi-box', function: () => void comfy.toggleSidebarTab(SIDEBAR) },
    { id: 'EnvManager.Log', label: t.openLog, icon: 'pi pi-list', function: () => comfy.showBottomTab(LOG) },
    { id: 'EnvManager.Report', label: t.makeReportCommand, icon: 'pi pi-file', function: openCare },
    { id: TOGGLE, label: t.toggleNode, icon: 'pi pi-box', tooltip: t.toggleNode, function: toggleSelected },
  ],
  keybindings: [
    { commandId: 'EnvManager.Open', combo: { key: 'e', ctrl: true, alt: true } },
    { commandId: TOGGLE, combo: { key: 'i', ctrl: true, alt: true } },
  ],
  menuCommands: [{ path: ['Extensions', 'Env Manager'], commands: ['EnvManager.Open', 'EnvManager.Log', 'EnvManager.Report', TOGGLE] }],
  settings: settings.settings,
  bottomPanelTabs: [{ id: LOG, title: t.logTab, type: 'custom', ...mountable(LogPanel) }],
  aboutPageBadges: [{ label: t.about(__VERSION__), url: '', icon: 'pi pi-box' }],
  getSelectionToolboxCommands: (item) => (world.packOf(classOf(item)) === undefined ? [] : [TOGGLE]),
  getNodeMenuItems: (node) => menuItems(world, node),
  beforeRegisterNodeDef: (nodeType, { name, python_module: module = '' }) => {
    const [parent, pack] = [module.slice(0, module.indexOf('.')), module.slice(module.indexOf('.') + 1)]
    if (name === undefined || parent !== 'custom_nodes' || pack === 'comfyui-envmanager') return
    packOfClass.set(name, pack)
    comfy.addOldNodeMenu(nodeType, (node) => menuItems(world, node))
  },
  nodeCreated: (node) => {
    if (world.packOf(classOf(node)) !== undefined) comfy.addBadge(node, () => (nodeIsolated(world, node) ? t.nodeBadge : ''))
  },
  setup,
}

stepIn('app.registerExtension', () => comfy.registerExtension(extension))
// it calls `setup` itself once it is ready
if (!isRegistrable) setup()
