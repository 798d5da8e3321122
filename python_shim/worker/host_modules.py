"""Makes ComfyUI's own modules importable in a worker: the real ones, except `server`, which needs a web server.

Order and reasons follow ComfyUI's `main.py`; what the stand-in for `server` must offer was found by loading popular packs.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import sys
from typing import Any

from ..wire.files import FileList
from ..wire.importing import when_imported
from ..wire.model_folders import entries, parts_of
from . import cache_providers, host_server, host_start, node_classes


def install(folders: dict[str, Any], runner: Any) -> None:
    """Prepare sys.path, sys.argv, `folder_paths` and `server`. `folders` is the `HostFolders` of the schemas."""
    root = folders["root"]
    if not os.path.isdir(root):
        return
    sys.argv = ["main.py", *folders["argv"]]
    sys.path.insert(0, root)
    if os.path.isfile(os.path.join(root, "comfy", "options.py")):
        importlib.import_module("comfy.options").enable_args_parsing()  # before anything reads comfy.cli_args
        if os.path.isfile(os.path.join(root, "utils", "extra_config.py")):
            # before `nodes`, which puts ROOT/comfy first on sys.path, where `utils` is another module
            importlib.import_module("utils.extra_config")
    if os.path.isdir(os.path.join(root, "comfy")):
        sys.path.insert(0, os.path.join(root, "comfy"))  # where packs find `model_management` by that name (`nodes.py`)
    _log_as_comfyui()
    host_start.before_packs(folders)
    set_folders(folders)
    _mark_file_lists()
    sys.modules["server"] = host_server.make_module(root, runner.progress)
    when_imported("nodes", node_classes.provide)
    _offer_modules()


def _log_as_comfyui() -> None:
    """What packs log is shown from the same level on as inside ComfyUI (`app/logger.py`), in the worker's log."""
    logging.basicConfig(level=host_start.log_level(), format="%(message)s", stream=sys.stderr)


def _offer_modules() -> None:
    """`comfy.samplers`, `comfy_extras.nodes_x` without an import of their own: inside ComfyUI, which has imported them all, that works."""
    for package in ("comfy", "comfy_extras"):
        try:
            module: Any = importlib.import_module(package)
        except ImportError:
            continue
        if "__getattr__" not in vars(module):
            module.__getattr__ = functools.partial(_module_of, package)


def _module_of(package: str, name: str) -> Any:
    if not name.startswith("_"):
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(f"{package}.{name}")
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def set_folders(folders: dict[str, Any]) -> None:
    """Give `folder_paths` the host's folders, so that file lists and outputs are the same in both processes.

    What a pack of this worker has added stays.
    """
    if "web_root" in folders:
        host_server.PromptServer.web_root = folders["web_root"]
    paths = _folder_paths()
    if paths is None:
        return
    for kind in ("output", "input", "temp", "user"):
        setter = getattr(paths, f"set_{kind}_directory", None)
        if setter is not None:
            setter(folders[kind])
    known = getattr(paths, "folder_names_and_paths", {})
    for name, entry in folders["models"].items():
        own = parts_of(known.get(name)) or ([], [])
        more = [path for path in own[0] if path not in entry["paths"]]
        known[name] = ([*entry["paths"], *more], {*entry["extensions"], *own[1]})


def _folder_paths() -> Any:
    try:
        return importlib.import_module("folder_paths")
    except ImportError:
        return None


def _mark_file_lists() -> None:
    """Lists of model files remember their folder, so that the host can list it anew when the user presses Refresh."""
    paths = _folder_paths()
    plain = getattr(paths, "get_filename_list", None)
    if plain is not None:
        paths.get_filename_list = lambda name: FileList.of(name, plain(name))


def remember() -> dict[str, Any]:
    """What `added_since` compares with: folders, web folders, routes and handlers before a pack is imported."""
    paths, nodes, server = _folder_paths(), sys.modules.get("nodes"), sys.modules.get("server")
    known = getattr(paths, "folder_names_and_paths", {})
    return {
        "folders": {name: (paths, {*extensions}) for name, paths, extensions in entries(known)},
        "web": dict(getattr(nodes, "EXTENSION_WEB_DIRS", {})),
        "handlers": len(server.PromptServer.instance.on_prompt_handlers) if server is not None else 0,
        "cache_providers": cache_providers.registered(),
        "replacements": [] if server is None else host_server.replacements(server.PromptServer.instance),
    }


def added_since(pack: str, before: dict[str, Any]) -> dict[str, Any]:
    """What a pack's import has added: fields of `LoadedPack`."""
    now = remember()
    folders = {}
    for name, (paths, extensions) in now["folders"].items():
        old = before["folders"].get(name)
        if old is None or old[0] != paths or old[1] != extensions:
            added = [str(path) for path in paths if old is None or path not in old[0]]
            folders[name] = {"paths": added, "extensions": sorted(str(item) for item in extensions)}
    web = {str(name): str(path) for name, path in now["web"].items() if before["web"].get(name) != path and os.path.isdir(path)}
    handlers, replacements = now["handlers"] - before["handlers"], now["replacements"][len(before["replacements"]) :]
    providers = cache_providers.keep(pack, before["cache_providers"])
    return {
        **{"folders": folders, "web_directories": web, "prompt_handlers": handlers},
        **{"replacements": replacements, "cache_providers": providers},
    }


def put_by_pack() -> dict[str, Any]:
    """Node classes that the import of a pack has put into `nodes.NODE_CLASS_MAPPINGS` itself."""
    classes = getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", None)
    return classes.put_by_packs() if isinstance(classes, node_classes.NodeClasses) else {}


def add_nodes(classes: dict[str, Any], titles: dict[str, str], pack: str, folder: str) -> None:
    """Let the pack find its own classes where it looks for them at run time (`nodes.NODE_CLASS_MAPPINGS`)."""
    nodes = sys.modules.get("nodes")
    if nodes is None or not hasattr(nodes, "NODE_CLASS_MAPPINGS"):
        return
    nodes.NODE_CLASS_MAPPINGS.update(classes)
    getattr(nodes, "NODE_DISPLAY_NAME_MAPPINGS", {}).update(titles)
    getattr(nodes, "LOADED_MODULE_DIRS", {})[pack] = os.path.abspath(folder)
