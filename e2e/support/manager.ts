import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ComfyOptions } from './comfy.ts'
import { until } from './processes.ts'

export type ManagerAction = 'install' | 'update' | 'disable' | 'enable' | 'uninstall'

/** A real ComfyUI-Manager that knows one pack: what it is started with, and its buttons by its own routes. */
export interface Manager {
  start: Pick<ComfyOptions, 'args' | 'env'>
  press: (url: string, action: ManagerAction) => Promise<void>
  restart: (url: string) => Promise<void>
}

/** No network, and pip instead of uv: the test says with pip's variables where that installs. */
const CONFIG = '[default]\nnetwork_mode = offline\nuse_uv = False\nallow_git_url_install = True\n'

/** 3.x takes all that it knows of a pack; an install of a disabled pack enables it. */
const bodyOf3 = (name: string, repository: string) => ({ id: name, ui_id: name, files: [repository], version: 'unknown', selected_version: 'unknown', mode: 'local', channel: 'default' })

function paramsOf4(name: string, repository: string): Record<ManagerAction, object> {
  const named = { node_name: name, is_unknown: true }
  const install = { id: name, version: 'unknown', selected_version: 'unknown', mode: 'local', channel: 'default', repository }
  return { install, update: { node_name: name, node_ver: 'unknown' }, disable: named, enable: { cnr_id: name }, uninstall: named }
}

async function post(address: string, body?: object): Promise<void> {
  const response = await fetch(address, { method: 'POST', ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }) })
  if (!response.ok) throw new Error(`${address}: ${response.status} ${await response.text()}`)
}

/** Does what stands in its queue, and waits for the end of it. */
async function work(routes: string): Promise<void> {
  await post(`${routes}/queue/start`)
  const isIdle = async (): Promise<boolean> => {
    const status = (await (await fetch(`${routes}/queue/status`)).json()) as Record<string, number | boolean>
    return status.is_processing === false || (status.in_progress_count === 0 && (status.pending_count ?? status.total_count) === 0)
  }
  await until('ComfyUI-Manager to have done it', isIdle, 60_000)
}

/**
 * Puts the ComfyUI-Manager of a folder into a ComfyUI's base folder: 3.x, a node pack, or 4.x, the folder that its package `comfyui_manager` lies in. Its list
 * of packs is one pack.
 */
export function addManager(from: string, base: string, pack: { name: string; repository: string }): Manager {
  const { name, repository } = pack
  const isPackage = existsSync(join(from, 'comfyui_manager'))
  const [source, to] = isPackage ? [join(from, 'comfyui_manager'), join(base, 'manager', 'comfyui_manager')] : [from, join(base, 'custom_nodes', 'ComfyUI-Manager')]
  cpSync(source, to, { recursive: true, filter: (path) => !path.endsWith('.git') && !path.includes('__pycache__') })
  const entry = { id: name, title: name, author: 'tests', description: '', reference: repository, files: [repository], install_type: 'git-clone' }
  writeFileSync(join(to, 'custom-node-list.json'), JSON.stringify({ custom_nodes: [entry] }))
  mkdirSync(join(base, 'user', '__manager'), { recursive: true })
  writeFileSync(join(base, 'user', '__manager', 'config.ini'), CONFIG)
  const routes = (url: string): string => `${url}${isPackage ? '/v2' : ''}/manager`
  const press: Manager['press'] = async (url, action) => {
    if (isPackage) await post(`${routes(url)}/queue/task`, { ui_id: `${name}-${Date.now()}`, client_id: 'tests', kind: action, params: paramsOf4(name, repository)[action] })
    else await post(`${routes(url)}/queue/${action === 'enable' ? 'install' : action}`, bodyOf3(name, repository))
    await work(routes(url))
  }
  return {
    start: isPackage ? { args: ['--enable-manager'], env: { PYTHONPATH: join(base, 'manager') } } : {},
    press,
    restart: (url) => post(`${routes(url)}/reboot`).catch(() => undefined), // it answers nothing: its process is another program at once
  }
}
