import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { FRONTENDS } from '../../scripts/devPython.ts'
import { type Comfy, startComfy } from './comfy.ts'
import { PanelClient } from './panelClient.ts'

/** A ComfyUI with packs of these files, by name, and a panel that has seen them all loaded. `isolated`: those that run in a worker from its start on. */
export async function startWithPacks(packs: Record<string, Record<string, string>>, isolated: string[] = []): Promise<{ comfy: Comfy; panel: PanelClient }> {
  const base = mkdtempSync(join(tmpdir(), 'envmanager-comfy-'))
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
  for (const [pack, files] of Object.entries(packs)) for (const [file, text] of Object.entries(files)) write(join(base, 'custom_nodes', pack, file), text)
  write(join(base, 'user', '__envmanager', 'state.json'), JSON.stringify({ schema: 1, isolated }))
  const comfy = await startComfy({ frontend: FRONTENDS[0], packs: [], base })
  const panel = await PanelClient.connect(comfy.url)
  await panel.until((state) => Object.keys(packs).every((name) => state.packs.some(({ id, loaded }) => id === name && loaded !== 'no')), 'the packs')
  return { comfy, panel }
}
