"""ComfyUI's table of model folders, `folder_paths.folder_names_and_paths`, which packs write to as they like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def entries(table: Any) -> Iterator[tuple[str, list[str], list[str]]]:
    """Name, paths and extensions of each entry that ComfyUI can read; it looks at the first two parts alone (`folder_paths.py`)."""
    for name, entry in list(table.items()) if isinstance(table, dict) else ():
        parts = parts_of(entry)
        if isinstance(name, str) and parts is not None:
            yield name, *parts


def parts_of(entry: Any) -> tuple[list[str], list[str]] | None:
    """Paths and extensions of one entry; None if it is no such thing."""
    try:
        paths, extensions = entry[0], entry[1]
        if isinstance(paths, str) or isinstance(extensions, str):
            return None
        return [str(path) for path in paths], [str(item) for item in extensions]
    except Exception:  # noqa: BLE001 - whatever a pack has put there
        return None
