import { execFileSync } from 'node:child_process'

/** A pack that ComfyUI-Manager, or a test in its place, installs and updates by git. It needs `plainly`, and shows its version and where it has run. */
export const PACK = 'managed'
export const NODES = `import os
class Managed:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True
    @classmethod
    def INPUT_TYPES(cls): return {"required": {"turn": ("INT", {})}}
    def run(self, turn):
        import plainly
        return {"ui": {"text": [plainly.VERSION + (" isolated" if "COMFYUI_ISOLATION_WORKER" in os.environ else " inside")]}}
NODE_CLASS_MAPPINGS = {"Managed": Managed}
`

export const git = (cwd: string, ...args: string[]): string => execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { cwd, encoding: 'utf8' })
