"""What the bridge has written down, read without a bridge: ComfyUI's start waits for none."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import pathlib
import re
import stat
from typing import Any

from ..wire.pack_key import pack_key
from . import log, places

#: No state file of ours has more bytes (`bridge/files.ts`): ComfyUI's start reads it.
LARGEST = 32 << 20
#: Nor settings that a user has written more than this; Python's reader of TOML would take minutes.
LARGEST_SETTINGS = 1 << 20
#: What reading and parsing a file may raise, whatever is in it: a text that is nested deeper than Python's stack is a RecursionError.
UNREADABLE = (OSError, ValueError, RecursionError, MemoryError)
#: What `LoadedPack` of the schemas holds.
_REPORT = (
    *("classes", "web_directory", "web_directories", "routes", "prompt_handlers", "replacements", "cache_providers"),
    *("folders", "web_socket", "key", "code"),
)


def _text(file: pathlib.Path, largest: int = LARGEST, encoding: str = "utf-8") -> str:
    """The text of a file of ours. Raises ValueError for what is none: opening a named pipe would never end. Else OSError."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no file")
    if found.st_size > largest:
        raise ValueError("it is larger than any of ours")
    return file.read_text(encoding)


def _choices() -> dict[str, Any]:
    file = places.home() / "state.json"
    try:
        saved = json.loads(_text(file))
        if not isinstance(saved, dict):
            raise ValueError("it is not what we wrote there")
        return saved
    except FileNotFoundError:
        return {}
    except UNREADABLE as error:
        _warn(f"{file} cannot be read ({error}): no node pack runs isolated until ComfyUI is restarted.")
        return {}


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
    file = places.home() / "classes" / f"{pack_file(pack)}.json"
    try:
        report = json.loads(_text(file))
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        _warn(f"{file} cannot be read ({error}): the classes of {pack} come when its worker has loaded it.")
        return None
    whole = isinstance(report, dict) and all(key in report for key in _REPORT)
    return report if whole and report["key"] == pack_key(folder) else None


def waits_for_packs() -> bool:
    """Whether ComfyUI's start is to wait for packs that have to be loaded first: `start = "wait"` in settings.toml, or COMFY_ENV_START.
    The file is read as the bridge reads it; what is wrong with it keeps no ComfyUI from starting."""
    chosen = os.environ.get("COMFY_ENV_START")
    if chosen:
        if chosen not in ("now", "wait"):
            _warn(f"COMFY_ENV_START is {chosen[:40]!r}: set it to now or wait. ComfyUI's start waits for no pack.")
        return chosen == "wait"
    file = places.home() / "settings.toml"
    try:
        # editors of Windows begin a file with a mark of its encoding
        return bool(_toml().loads(_text(file, LARGEST_SETTINGS, "utf-8-sig")).get("start") == "wait")
    except FileNotFoundError:
        return False
    except ImportError:
        _warn("settings.toml cannot be read by this Python: ComfyUI's start waits for no pack, unless COMFY_ENV_START is wait.")
        return False
    except UNREADABLE as error:
        _warn(f"{file} cannot be read ({error}): ComfyUI's start waits for no pack.")
        return False


def _toml() -> Any:
    """Python has a reader of TOML since 3.11; the one before has pip's."""
    try:
        return importlib.import_module("tomllib")
    except ImportError:
        return importlib.import_module("pip._vendor.tomli")
