"""What the bridge must know of this ComfyUI: its folders, its version and its packs."""

from __future__ import annotations

import sys
from typing import Any

from . import log
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

    models = {}
    for name, (paths, extensions) in folder_paths.folder_names_and_paths.items():
        models[name] = {"paths": [str(path) for path in paths], "extensions": [str(item) for item in extensions]}
    web_root = getattr(getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None), "web_root", None)
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


def host_report(registry: Registry) -> dict[str, Any]:
    """The `HostReport` of the schemas."""
    import folder_paths

    packs = []
    for pack in registry.packs():
        try:
            packs.append(registry.report_pack(pack))
        except Exception as error:  # noqa: BLE001 - one strange pack does not hide the others
            log.warning("comfyui-envmanager: %s could not be described: %s", pack, error)
    roots = [str(path) for path in folder_paths.get_folder_paths("custom_nodes")]
    return {"version": _version(), "pack_roots": roots, "folders": folders(), "packs": packs}
