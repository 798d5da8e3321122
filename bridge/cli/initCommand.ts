import { stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import type { Output } from './output'

const CONTENT = `# What this node pack needs, for comfyui-envmanager. Lines without a leading # count.

[env]
# Python, torch and CUDA are ComfyUI's own unless you fix them; a pack with other ones gets a sealed environment.
# python = "3.12"
# pytorch_version = "2.8.0"
# cuda = "12.8"             # "none" is the CPU

[packages]
# Ordinary packages, as in requirements.txt.
requirements = [
  # "scikit-image>=0.24",
]
# requirements_file = "requirements.txt"
# Packages whose wheels are built for a torch and a CUDA: the one that fits each machine is looked up, nothing is compiled.
no_deps = [
  # "nvdiffrast==0.4.0",
]

[sources]
# Where such wheels are published, if it is not a known publisher: a GitHub releases address, an index, a page of links, a
# packages.json, or a template with {package_us} {version} {cuda_short} {torch_mm_dot} {py_tag} {abi_tag} {platform}.
wheel_sources = [
  # "https://github.com/you/your-wheels/releases/download/",
]
# Further indexes for ordinary packages.
# index_urls = []

[variables]
# Your own {names} for the requirements above.
# build = "1.2"
`

/** `comfy-env init`: writes a commented config into a pack's folder; never over one that is there. */
export async function initCommand(dir: string | undefined, output: Output): Promise<number> {
  const folder = resolve(dir ?? '.')
  if (!(await stat(folder).then((found) => found.isDirectory(), () => false))) throw new BridgeError('UNKNOWN_PACK', `There is no folder \`${folder}\`.`)
  const file = join(folder, 'comfyui_env.toml')
  await writeFile(file, CONTENT, { flag: 'wx' }).catch((cause: unknown) => {
    const exists = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST'
    throw exists ? new BridgeError('BAD_USAGE', `${file} is there already; it was left as it is.`, { cause }) : cause
  })
  output.result({ file }, () => `Written: ${file}`)
  return 0
}
