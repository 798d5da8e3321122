"""What the bridge must know of this ComfyUI: its folders, its version and its packs."""

from __future__ import annotations

import sys
from typing import Any

from ..wire.model_folders import entries
from . import host_start, log
from .registry import Registry


def _version() -> str:
    try:
        from comfyui_version import __version__  # type: ignore[import-not-found]

        return str(__version__)
    except ImportError:
        return "unknown"


def folders() -> dict[str, Any]:
    """The `HostFolders` of the schemas: a worker must see the same files."""
    import folder_paths

    table = entries(folder_paths.folder_names_and_paths)  # what is odd in it stays that entry's
    models = {name: {"paths": paths, "extensions": extensions} for name, paths, extensions in table}
    web_root = getattr(getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None), "web_root", None)
    started = host_start.started()
    root = str(getattr(folder_paths, "__file__", "")).rsplit("folder_paths", 1)[0].rstrip("/\\")
    return {
        "root": root,
        "base": str(folder_paths.base_path),
        "output": folder_paths.get_output_directory(),
        "input": folder_paths.get_input_directory(),
        "temp": folder_paths.get_temp_directory(),
        "user": folder_paths.get_user_directory(),
        "models": models,
        "argv": [str(arg) for arg in sys.argv[1:]],
        **({} if web_root is None else {"web_root": str(web_root)}),
        **({} if started is None else {"started": started}),
    }


class FolderWatch:
    """Tells when ComfyUI has other folders than it last had: packs add some at any time."""

    def __init__(self) -> None:
        self._last: Any = None

    def changed(self) -> dict[str, Any] | None:
        """The `HostFolders` of the schemas if they are not what they were at the last call; else None."""
        now = folders()
        before, self._last = self._last, now
        return None if before is None or before == now else now


def host_report() -> dict[str, Any]:
    """The `HostReport` of the schemas, but its problems: nothing of a pack's is asked for it."""
    import folder_paths

    roots = [str(path) for path in folder_paths.get_folder_paths("custom_nodes")]
    return {"version": _version(), "pack_roots": roots, "folders": folders()}


def _live_classes(registry: Registry, pack: str) -> list[str]:
    try:
        return registry.live_classes(pack)
    except BaseException as error:  # noqa: BLE001 - one strange pack does not hide the others
        log.warning("comfyui-envmanager: the node classes of %s could not be looked at: %s", pack, error)
        return []


def host_packs(registry: Registry) -> list[dict[str, Any]]:
    """The `HostPack`s of the schemas. Asks node classes for their inputs, which may take a while: not for ComfyUI's own threads."""
    packs = []
    live = {pack: _live_classes(registry, pack) for pack in registry.packs()}
    for pack in live:  # how each stands is looked at when this is known: a switch may have been made meanwhile
        try:
            packs.append(registry.report_pack(pack, live[pack]))
        except BaseException as error:  # noqa: BLE001 - one strange pack does not hide the others
            log.warning("comfyui-envmanager: %s could not be described: %s", pack, error)
    return packs
