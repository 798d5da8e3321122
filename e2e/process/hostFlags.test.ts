/** What follows from ComfyUI's command line is the same inside and in a worker, except what docs/comfyui-versions.md names. Only a real ComfyUI (COMFYUI_DIR) has it: skipped without one. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, relative, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Comfy } from '../support/comfy.ts'
import { startWithPacks } from '../support/ownPacks.ts'
import type { PanelClient } from '../support/panelClient.ts'
import { run } from '../support/prompts.ts'
import { sandboxWorks } from '../support/sandbox.ts'

const root = process.env.COMFYUI_DIR ?? ''
const text = root && readFileSync(join(root, 'comfy', 'cli_args.py'), 'utf8')
const has = (flag: string): boolean => text.includes(`"${flag}"`)

/** Says what this process has made of its command line: of ComfyUI's arguments, its modules' plain values, its choices, torch's switches. */
const FACTS = `import enum, json, logging, mimetypes, os, sys
import torch
import comfy.cli_args, comfy.ldm.modules.attention as attention, comfy.model_management as management, comfy.ops, comfy.utils
import comfy_api.feature_flags, folder_paths, latent_preview, node_helpers, nodes

ASKED = """get_torch_device get_all_torch_devices unet_offload_device text_encoder_offload_device text_encoder_device text_encoder_dtype vae_device
vae_offload_device vae_dtype intermediate_device intermediate_dtype unet_dtype sage_attention_enabled flash_attention_enabled xformers_enabled
xformers_enabled_vae pytorch_attention_enabled pytorch_attention_enabled_vae force_channels_last force_upcast_attention_dtype should_use_fp16
should_use_bf16 get_supported_float8_types minimum_inference_memory extra_reserved_memory is_device_cpu mps_mode cpu_mode""".split()
PLAIN = (bool, int, float, str, type(None), enum.Enum, torch.dtype, torch.device)

def told(value):
    if isinstance(value, (set, frozenset)): return sorted(map(told, value))
    if isinstance(value, (list, tuple)): return [told(each) for each in value]
    return value.value if isinstance(value, enum.Enum) else value if type(value) in (bool, int, type(None)) else str(value)

def answer(name):
    try: return told(getattr(management, name)())
    except Exception as error: return f"{type(error).__name__}: {error}"

def facts():
    modules = [management, attention, comfy.ops, comfy.utils, folder_paths, sys.modules.get("comfy.memory_management")]
    kitchen = sys.modules.get("comfy_kitchen")
    sdp = getattr(torch.backends.cuda, "fp16_bf16_reduction_math_sdp_allowed", lambda: None)()
    return {
        "args": {name: told(value) for name, value in vars(comfy.cli_args.args).items()},
        "values": {f"{one.__name__}.{name}": told(value) for one in modules if one for name, value in vars(one).items()
                   if isinstance(value, PLAIN) and not name.startswith("__")},
        "choices": {name: answer(name) for name in ASKED},
        "attention": [attention.optimized_attention.__name__, attention.optimized_attention_masked.__name__],
        "hash": node_helpers.hasher().__name__,
        "preview": [told(comfy.cli_args.args.preview_method), latent_preview.MAX_PREVIEW_RESOLUTION],
        "kitchen": None if kitchen is None else {name: [one["available"], one["disabled"]] for name, one in kitchen.list_backends().items()},
        "flags": comfy_api.feature_flags.SERVER_FEATURE_FLAGS if hasattr(comfy_api.feature_flags, "SERVER_FEATURE_FLAGS") else None,
        "folders": [getattr(folder_paths, f"get_{kind}_directory")() for kind in ("output", "input", "temp", "user")],
        "models": {name: [list(map(str, paths)), sorted(more)] for name, (paths, more) in folder_paths.folder_names_and_paths.items()},
        "torch": [torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(), sdp,
                  torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_fp16_accumulation],
        "environment": {name: os.environ.get(name) for name in """ASCEND_RT_VISIBLE_DEVICES CUBLAS_WORKSPACE_CONFIG CUDA_VISIBLE_DEVICES
            HIP_VISIBLE_DEVICES OCL_SET_SVM_SIZE ONEAPI_DEVICE_SELECTOR PYTORCH_CUDA_ALLOC_CONF TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL
            HF_HUB_DISABLE_TELEMETRY DO_NOT_TRACK""".split()},
        "shown": [logging.getLogger(name).isEnabledFor(level) for name in (None, "a pack") for level in (10, 15, 20, 30, 40)],
        "types": [mimetypes.guess_type("a" + end)[0] for end in (".js", ".webp", ".svg", ".safetensors", ".yaml")],
        "command": [sys.argv[1:], os.getcwd()],
    }

class NAME:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {}}
    def run(self): return {"ui": {"text": [json.dumps({"where": os.environ.get("COMFYUI_ISOLATION_WORKER", "inside"), **facts()})]}}
NODE_CLASS_MAPPINGS = {"NAME": NAME}
`
/** Uses torch and nothing of ComfyUI. */
const TORCH_ONLY = `import torch
class TorchOnly:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {}}
    def run(self): return {"ui": {"text": [str((torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()))]}}
NODE_CLASS_MAPPINGS = {"TorchOnly": TorchOnly}
`
/** Puts a function of its own in the place of one that ComfyUI wants as it is. */
const HOOKS = `import comfy.model_management as management
mine = lambda *args, **kwargs: None
management.cast_to = mine
class HooksNAME:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {}}
    def run(self): return {"ui": {"text": [str(management.cast_to is mine)]}}
NODE_CLASS_MAPPINGS = {"HooksNAME": HooksNAME}
`

/** Holds ComfyUI's start until our bridge runs, where our pack comes before: 0.3.64 sets which GPUs there are only then. */
const HOLDS = `import sys, time
shim, end = sys.modules.get("comfyui_envmanager_python.shim.main"), time.monotonic() + 30
while shim is not None and shim.current().process.status[0] == "starting" and time.monotonic() < end: time.sleep(0.02)
`

interface Facts {
  where: string
  args: Record<string, unknown>
  values: Record<string, unknown>
  torch: unknown[]
}

/** Arguments that a worker has otherwise, and why. docs/comfyui-versions.md lists them. */
const OTHER_ARGS = [
  'enable_manager', // the Manager is ComfyUI's own
  'cuda_malloc', // a note for itself: what follows from it is in the environment
]
/** What the executor keeps while a prompt runs. */
const OTHER_VALUES = ['comfy.memory_management.RAM_CACHE_HEADROOM', 'comfy.memory_management.extra_ram_release_callback']

const LAST = 'for everything that is visible, and with paths from here'

/** Flags of both versions and of one: those that this ComfyUI does not have are left out. Each starts with its name. */
const SETS: Record<string, string[][]> = {
  'for numbers and devices': [
    ['--deterministic'], ['--force-fp16'], ['--use-split-cross-attention'], ['--default-device', '1'], ['--fast'], ['--fp16-vae'],
    ['--fp8_e4m3fn-text-enc'], ['--fp16-intermediates'], ['--force-channels-last'], ['--force-upcast-attention'], ['--disable-xformers'],
    ['--reserve-vram', '1.5'], ['--vram-headroom', '0.5'], ['--disable-smart-memory'], ['--supports-fp8-compute'], ['--async-offload'],
    ['--verbose', text.includes("'DETAIL'") ? 'DETAIL' : 'DEBUG'], ['--preview-method', 'latent2rgb'], ['--preview-size', '256'], ['--oneapi-device-selector', 'level_zero:0'],
  ],
  'for one GPU of several': [
    ['--cuda-device', '1'], ['--fast', 'fp16_accumulation', 'cublas_ops'], ['--use-quad-cross-attention'], ['--force-fp32'], ['--bf16-unet'], ['--cpu-vae'],
    ['--fp32-text-enc'], ['--dont-upcast-attention'], ['--disable-async-offload'], ['--disable-pinned-memory'], ['--cuda-malloc'],
    ['--enable-triton-backend'], ['--disable-mmap'], ['--mmap-torch-files'], ['--force-non-blocking'],
    ['--default-hashing-function', 'md5'], ['--disable-metadata'], ['--max-upload-size', '7'], ['--cache-lru', '3'], ['--enable-assets'],
    ['--feature-flag', 'show_signin_button=true'], ['--log-stdout'], ['--disable-dynamic-vram'], ['--fast-disk'], ['--comfy-api-base', 'https://example.invalid'],
  ],
  [LAST]: [
    ['--cuda-device', text.includes("'all'") ? 'all' : '0'], ['--default-device', '2'], ['--use-pytorch-cross-attention'], ['--fp32-vae'], ['--fp64-unet'],
    ['--output-directory', 'HERE/results'], ['--input-directory', 'HERE/given'], ['--temp-directory', 'HERE/short'], ['--models-directory', 'HERE/models'], ['--high-ram'],
    ['--disable-cuda-malloc'], ['--disable-triton-backend'], ['--disable-nvml-pressure'], ['--enable-asset-hashing'], ['--debug-hang'], ['--verbose'],
  ],
} // prettier-ignore

let comfy: Comfy | undefined
let panel: PanelClient | undefined
afterEach(async () => {
  panel?.close()
  await comfy?.stop()
  comfy?.remove()
  comfy = panel = undefined
})

async function say(url: string, name: string): Promise<string> {
  const { outputs, error } = await run(url, { '1': { class_type: name, inputs: {} } })
  expect(error.exception_message).toBeUndefined()
  return String(outputs['1']?.text?.[0])
}

const without = (record: Record<string, unknown>, names: string[]): Record<string, unknown> => Object.fromEntries(Object.entries(record).filter(([name]) => !names.includes(name)))

async function facts(url: string, name: string): Promise<Facts> {
  const { args, values, ...rest } = JSON.parse(await say(url, name)) as Facts
  return { args: without(args, OTHER_ARGS), values: without(values, OTHER_VALUES), ...rest }
}

/** Starts ComfyUI with those of the flags that it has; returns them, and what it says inside and in a worker. */
async function started(flags: string[][], here: string, env: Record<string, string> = {}): Promise<{ args: string[]; url: string; inside: Facts; worker: Facts }> {
  mkdirSync(join(here, 'models'))
  const args = flags.filter(([name]) => has(name ?? '')).flat()
  const named = (code: string, name: string) => ({ '__init__.py': code.replaceAll('NAME', name) })
  const packs = { 'facts-inside': named(FACTS, 'Inside'), 'facts-worker': named(FACTS, 'Worker'), 'torch-only': named(TORCH_ONLY, ''), 'hooks-inside': named(HOOKS, 'Inside'), 'hooks-worker': named(HOOKS, 'Worker') }
  // several: ComfyUI takes packs in the order of the disk
  const holding = Object.fromEntries(['a', 'h', 'p', 'z'].map((name) => [`${name}-holds`, { '__init__.py': 'NODE_CLASS_MAPPINGS = {}', 'prestartup_script.py': HOLDS }]))
  ;({ comfy, panel } = await startWithPacks({ ...packs, ...holding }, ['facts-worker', 'torch-only', 'hooks-worker'], { env, args: args.map((arg) => arg.replace('HERE', relative(root, here))) }))
  return { args, url: comfy.url, inside: await facts(comfy.url, 'Inside'), worker: await facts(comfy.url, 'Worker') }
}

describe.skipIf(!root)('flags (a real ComfyUI)', () => {
  let here = ''
  beforeEach(() => void (here = mkdtempSync(join(tmpdir(), 'envmanager-paths-'))))
  afterEach(() => rmSync(here, { recursive: true }))

  test.each(Object.entries(SETS))('%s', async (_, flags) => {
    const { args, url, inside, worker } = await started(flags, here)
    expect([inside.where, worker.where]).toEqual(['inside', '1'])
    expect({ ...worker, where: '' }).toEqual({ ...inside, where: '' })
    const deterministic = args.includes('--deterministic')
    expect([inside.torch.slice(0, 2), await say(url, 'TorchOnly')]).toEqual([[deterministic, deterministic], deterministic ? '(True, True)' : '(False, False)'])
    expect([await say(url, 'HooksInside'), await say(url, 'HooksWorker')]).toEqual(['False', 'False'])
  }, 400_000)

  test.skipIf(!sandboxWorks())('a sandboxed worker, which works in another folder (needs bubblewrap)', async () => {
    const { inside, worker } = await started(SETS[LAST] ?? [], here, { COMFY_ENV_SANDBOX: '*' })
    const whole = (value: unknown): unknown => (typeof value === 'string' && value.includes(basename(here)) ? resolve(root, value) : value)
    const args = Object.fromEntries(Object.entries(inside.args).map(([name, value]) => [name, whole(value)]))
    expect({ ...worker, where: '', command: [] }).toEqual({ ...inside, where: '', command: [], args })
  }, 400_000)
})
