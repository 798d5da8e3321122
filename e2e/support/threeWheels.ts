import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { WheelIndex, WheelSpec } from './wheelIndex.ts'

/**
 * Three wheels that exist together for torch 2.8 only, while the host has torch 2.13. That torch is a stand-in of a few bytes with the
 * real one's name: a second real one would be gigabytes.
 */
const built = (name: string, torch: string): WheelSpec => ({
  name,
  version: '1.0',
  local: `cputorch${torch}`,
  python: 'here',
  tag: 'here',
})
export const THREE_WHEELS: WheelSpec[] = [
  built('tri_mesh', '2.8'),
  built('tri_mesh', '2.13'),
  built('tri_ray', '2.8'),
  built('tri_ray', '2.10'),
  built('tri_knn', '2.8'),
  { name: 'torch', version: '2.8.0', python: 'here', tag: 'here', code: '"""A stand-in for torch 2.8.0."""\n' },
]

const PACK = `
import importlib.metadata, os, sys
import tri_knn, tri_mesh, tri_ray

class TriWhere:
    INPUT_TYPES = classmethod(lambda cls: {"required": {}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    def run(self):
        builds = [module.BUILD for module in (tri_knn, tri_mesh, tri_ray)]
        return {"ui": {"text": [" ".join([importlib.metadata.version("torch"), *builds, sys.prefix])]}}

NODE_CLASS_MAPPINGS = {"TriWhere": TriWhere}
`

/** Makes the pack that needs all three; returns its folder. */
export function makeThreeWheelsPack(folder: string): string {
  const pack = join(folder, 'three-wheels')
  mkdirSync(pack)
  writeFileSync(join(pack, '__init__.py'), PACK)
  writeFileSync(join(pack, 'comfyui_env.toml'), '[packages]\nno_deps = ["tri_mesh", "tri_ray==1.0", "tri_knn"]\n')
  return pack
}

/** Settings under which the wheels and the stand-in for torch come from the index, and all else from where it always does. */
export const threeWheelsSettings = ({ simple }: WheelIndex): Record<string, string> => ({ COMFY_ENV_SOURCES: simple, COMFY_ENV_TORCH_INDEX: simple })
