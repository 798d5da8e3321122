"""What the bridge has written down, read without a bridge: ComfyUI's start waits for none."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import re
from typing import Any

from ..wire.pack_key import pack_key
from . import log, places

#: No state file of ours has more bytes (`bridge/files.ts`): ComfyUI's start reads it.
LARGEST = 32 << 20
#: What `LoadedPack` of the schemas holds.
_REPORT = (
    *("classes", "web_directory", "web_directories", "routes", "prompt_handlers", "replacements", "cache_providers"),
    *("folders", "web_socket", "key", "code"),
)


def _choices() -> dict[str, Any]:
    file = places.home() / "state.json"
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError("it is larger than any of ours")
        saved = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _warn(f"{file} cannot be read ({error}): no node pack runs isolated until ComfyUI is restarted.")
        return {}
    return saved if isinstance(saved, dict) else {}


@functools.cache
def _warn(text: str) -> None:
    """Once, however many packs are asked about."""
    log.warning("comfyui-envmanager: %s", text)


def is_isolated(pack: str) -> bool:
    """Whether the user has set the pack to run in a worker."""
    isolated = _choices().get("isolated")
    return isinstance(isolated, list) and pack in isolated


def classes_apart(pack: str) -> dict[str, Any]:
    """The node classes that the user has set apart from their pack, and whether each runs in a worker."""
    classes = _choices().get("classes")
    chosen = classes.get(pack) if isinstance(classes, dict) else None
    return chosen if isinstance(chosen, dict) else {}


_PLAIN = re.compile(r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$))[a-z0-9_][a-z0-9_.-]{0,99}", re.IGNORECASE | re.ASCII)


def pack_file(pack: str) -> str:
    """The name of a pack's files, without its ending; `bridge/serve/packFile.ts` makes the same."""
    if _PLAIN.fullmatch(pack):
        return pack
    return f"~{hashlib.sha256(pack.encode('utf-16-le', 'surrogatepass')).hexdigest()[:32]}"


def description(pack: str, folder: str) -> dict[str, Any] | None:
    """What the worker said of the pack when it was last loaded; None if that is of other files, or of another release."""
    try:
        report = json.loads((places.home() / "classes" / f"{pack_file(pack)}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(report, dict) and all(key in report for key in _REPORT)
    return report if whole and report["key"] == pack_key(folder) else None


def waits_for_packs() -> bool:
    """Whether ComfyUI's start is to wait for packs that have to be loaded first: `start = "wait"` in settings.toml, or COMFY_ENV_START.
    A file that cannot be read is the panel's to tell."""
    chosen = os.environ.get("COMFY_ENV_START")
    if chosen:
        if chosen not in ("now", "wait"):
            _warn(f"COMFY_ENV_START is {chosen[:40]!r}: set it to now or wait. ComfyUI's start waits for no pack.")
        return chosen == "wait"
    try:
        text = (places.home() / "settings.toml").read_text("utf-8")
        return bool(_toml().loads(text).get("start") == "wait")
    except ImportError:
        _warn("settings.toml cannot be read by this Python: ComfyUI's start waits for no pack, unless COMFY_ENV_START is wait.")
        return False
    except (OSError, ValueError):
        return False


def _toml() -> Any:
    """Python has a reader of TOML since 3.11; the one before has pip's."""
    try:
        return importlib.import_module("tomllib")
    except ImportError:
        return importlib.import_module("pip._vendor.tomli")
