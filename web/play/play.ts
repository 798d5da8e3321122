/** Every state of every view on a scripted bridge, without a backend: `npm run play`. */
import { createPinia } from 'pinia'
import { createApp } from 'vue'
import '../panel.css'
import { useBridgeStore } from '../stores/bridgeStore'
import { useUiStore } from '../stores/uiStore'
import { SCENES } from './scenes'
import { scriptedBridge } from './scriptedBridge'
import Stage from './Stage.vue'
import './stage.css'

sessionStorage.clear()
const asked = new URLSearchParams(location.search)
const name = asked.get('scene') ?? Object.keys(SCENES)[0] ?? ''
const theme = asked.get('theme') === 'light' ? 'light' : 'dark'
const scene = SCENES[name]
document.body.classList.toggle('light', theme === 'light')

function toast(summary: string, detail: string): void {
  const element = document.createElement('p')
  element.className = 'stage-toast'
  element.textContent = `${summary}. ${detail}`
  document.body.append(element)
  setTimeout(() => element.remove(), 5000)
}

const pinia = createPinia()
if (scene) {
  const ui = useUiStore(pinia)
  if (scene.view !== 'log') ui.view = scene.view
  ui.search = scene.view === 'log' ? '' : (scene.search ?? '')
  ui.filter = scene.filter ?? 'all'
  ui.selected = new Set(scene.selected)
  useBridgeStore(pinia).start((events) => scriptedBridge(scene, events), {
    toastError: toast,
    refreshNodes: () => undefined,
    showLog: () => undefined,
    settingsChanged: () => undefined,
    copy: (text) => navigator.clipboard.writeText(text),
  })
}
createApp(Stage, { name, theme, width: Number(asked.get('width')) || 360, bare: asked.has('bare') })
  .use(pinia)
  .mount('#stage')
