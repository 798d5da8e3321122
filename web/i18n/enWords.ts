/** English words for what has a fixed set of values. */
import type { EnvKind } from '../../schemas/env'
import type { JobPhase } from '../../schemas/job'
import type { PackState } from '../../schemas/pack'
import type { ReasonCode } from '../../schemas/wheel'
import type { PackFilter, PackSort } from '../state/packList'

export const count = (number: number, one: string, many: string): string => (number === 1 ? `1 ${one}` : `${number.toLocaleString('en')} ${many}`)

export const states: Record<PackState, string> = {
  ready: 'Ready',
  update: 'Update',
  missing: 'Not installed',
  no_wheel: 'No wheel',
  conflict: 'Conflict',
  installing: 'Installing',
  failed: 'Failed',
  broken: 'Broken',
  gone: 'Gone',
  unknown: 'Unknown',
}

export const phases: Record<JobPhase, string> = {
  queued: 'Waiting',
  planning: 'Choosing versions',
  downloading: 'Downloading',
  installing: 'Installing',
  verifying: 'Verifying',
  switching: 'Switching over',
}

export const reasons: Record<ReasonCode, string> = {
  TAG_PYTHON: 'another Python',
  TAG_ABI: 'another Python ABI',
  TAG_PLATFORM: 'another system',
  GLIBC: 'a newer Linux (glibc)',
  TORCH_MINOR: 'another torch',
  TORCH_PATCH: 'another torch patch',
  TORCH_MIN: 'a newer torch',
  CUDA_MAJOR: 'another CUDA',
  CUDA_MINOR: 'another CUDA minor',
  CXX11ABI: 'another C++ ABI',
  SM_MISSING: 'another GPU',
  DRIVER_TOO_OLD: 'a newer driver',
  BACKEND: 'another backend than this torch',
  INVALID_NAME: 'its name cannot be read',
  VERSION: 'another version than asked for',
  UNLABELLED: 'does not say what it is built for',
  YANKED: 'withdrawn by its publisher',
  HASH: 'wrong content',
  NOT_FOUND: 'is not there',
  HOST_NOT_ALLOWED: 'its host is not known',
}

export const filters: Record<PackFilter, string> = {
  all: 'All',
  attention: 'Needs attention',
  installable: 'Can be installed',
  isolated: 'Isolated',
  ...states,
}

export const sorts: Record<PackSort, string> = { name: 'By name', state: 'Problems first', isolated: 'Isolated first' }

export const kinds: Record<EnvKind, string> = {
  host: 'ComfyUI’s own packages',
  overlay: 'Overlay',
  sealed: 'Sealed',
}

export const kindNotes: Record<EnvKind, string> = {
  host: 'Shares everything with ComfyUI; only the process is its own.',
  overlay: 'Its own packages first, ComfyUI’s behind them: torch is shared.',
  sealed: 'Its own Python, torch and CUDA: nothing is shared.',
}

/** What does not work where the frontend lacks a place that we use. */
export const withoutPlace = {
  'app.registerExtension': 'Commands, keys, menus, settings, badges and the log of Env Manager are not there.',
  'app.extensionManager.registerSidebarTab': 'The panel is not in the sidebar; the command line has all that it does.',
  'app.extensionManager.command.execute': 'Reload the page after a change of isolation.',
  'app.extensionManager.bottomPanel.toggleBottomPanelTab': 'Open the log from ComfyUI’s bottom panel.',
  'app.extensionManager.setting.get': 'The language is English.',
  'app.extensionManager.setting.set': 'ComfyUI’s settings page does not show what the panel sets.',
  'app.extensionManager.toast.add': 'Errors are in the browser’s console.',
  'api.apiURL': 'Below a sub-path the panel may not reach its bridge.',
  'api.addEventListener': 'It is not said which packs a workflow waits for.',
  LGraphBadge: 'Isolated nodes have no badge.',
}
