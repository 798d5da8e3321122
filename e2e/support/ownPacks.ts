import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { FRONTENDS } from '../../scripts/devPython.ts'
import type { PackInfo } from '../../schemas/pack.ts'
import { type Comfy, type ComfyOptions, startComfy } from './comfy.ts'
import { PanelClient } from './panelClient.ts'

/** A ComfyUI with packs of these files, by name, and a panel that has seen them all loaded. `isolated`: those that run in a worker from its start on. */
export async function startWithPacks(packs: Record<string, Record<string, string>>, isolated: string[] = [], more: Partial<ComfyOptions> = {}): Promise<{ comfy: Comfy; panel: PanelClient }> {
  const comfy = await startWithFiles(packs, isolated, more)
  const panel = await PanelClient.connect(comfy.url)
  const isThere = ({ id, loaded, proxied, isolation }: PackInfo): boolean => loaded !== 'no' && (!isolated.includes(id) || proxied || isolation.state === 'failed')
  await panel.until((state) => Object.keys(packs).every((name) => state.packs.some((pack) => pack.id === name && isThere(pack))), 'the packs')
  return { comfy, panel }
}

/** The same as soon as its server answers. `home`: more files of our home. */
export async function startWithFiles(packs: Record<string, Record<string, string>>, isolated: string[] = [], { home = {}, ...more }: Partial<ComfyOptions> & { home?: Record<string, string> } = {}): Promise<Comfy> {
  const base = mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
  for (const [pack, files] of Object.entries(packs)) for (const [file, text] of Object.entries(files)) write(join(base, 'custom_nodes', pack, file), text)
  write(join(base, 'user', '__envmanager', 'state.json'), JSON.stringify({ schema: 1, isolated }))
  for (const [file, text] of Object.entries(home)) write(join(base, 'user', '__envmanager', file), text)
  return startComfy({ frontend: FRONTENDS[0], packs: [], base, ...more })
}
