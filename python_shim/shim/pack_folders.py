"""Folders of packs: where they are, and those that they have for others, of files for the browser and of models."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from ..wire.errors import CodedError
from ..wire.model_folders import parts_of
from . import log


def find_pack(pack: str) -> str:
    """Where a pack lies that ComfyUI has not loaded. Raises UNKNOWN_PACK."""
    for root in sys.modules["folder_paths"].get_folder_paths("custom_nodes"):
        folder = os.path.join(root, pack)
        if os.path.isdir(folder):
            return folder
    raise CodedError("UNKNOWN_PACK", f"There is no node pack {pack}.", "Rescan the node packs.")


def gone_among(packs: Iterable[str | None], folders: dict[str, str]) -> list[str]:
    """Those of these packs that were in `folders` when ComfyUI loaded them, and are not there any more."""
    return sorted({pack for pack in packs if pack in folders and not os.path.isdir(folders[pack])})


class WebFolders:
    """The folders of isolated packs that the browser reads, where ComfyUI's web server serves them: it fixes its own once, as it starts."""

    def __init__(self) -> None:
        self._packs: dict[str, str] = {}

    def add(self, pack: str, folder: str, report: dict[str, Any]) -> None:
        """Those that ComfyUI's loader would have added (`nodes.load_custom_node`), and those that the pack's import has added."""
        directories = sys.modules["nodes"].EXTENSION_WEB_DIRS
        own = {pack: report["web_directory"]} if report["web_directory"] is not None else {}
        for name, web in {**own, **_configured(folder), **report["web_directories"]}.items():
            if os.path.isdir(web):  # ComfyUI's web server does not start with one that is not there
                directories.setdefault(name, web)
                self._packs[name] = pack

    def pack_of(self, name: str) -> str | None:
        """The isolated pack that has added the folder of this name."""
        return self._packs.get(name)


def _configured(folder: str) -> dict[str, str]:
    """The web folder that a pack's pyproject.toml names (`[tool.comfy] web`), by the project's name, as ComfyUI's loader reads it."""
    try:
        from comfy_config import config_parser  # type: ignore[import-not-found]

        found = config_parser.extract_node_configuration(folder)
        return {found.project.name: os.path.join(folder, found.tool_comfy.web)} if found is not None and found.tool_comfy.web else {}
    except Exception as error:  # noqa: BLE001 - an older ComfyUI, or a file that it cannot read either
        log.debug("comfyui-envmanager: pyproject.toml of %s: %s", folder, error)
        return {}


def add_model_folders(folders: dict[str, Any]) -> None:
    """Folders of model files that a pack has added in its worker, for every other node that asks."""
    known: Any = getattr(sys.modules.get("folder_paths"), "folder_names_and_paths", None)
    if known is None:
        return
    for name, entry in folders.items():
        paths, extensions = parts_of(known.get(name)) or ([], [])
        more = [path for path in entry["paths"] if path not in paths]
        if name not in known or more:
            known[name] = ([*paths, *more], {*extensions, *entry["extensions"]})
