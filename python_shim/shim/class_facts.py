"""What the node classes of this ComfyUI say of themselves, for packs in workers: some look other packs' classes up.

A file, because it is seldom asked for: nothing of it is on a call's way.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sys
import threading
from collections.abc import Callable
from typing import Any

from . import log

NAMES = (
    *("RETURN_TYPES", "RETURN_NAMES", "INPUT_IS_LIST", "OUTPUT_IS_LIST", "OUTPUT_NODE"),
    *("FUNCTION", "CATEGORY", "DEPRECATED", "EXPERIMENTAL", "RELATIVE_PYTHON_MODULE"),
)


class ClassFacts:
    """Keeps the file in step with `nodes.NODE_CLASS_MAPPINGS`."""

    def __init__(self, folder: Callable[[], pathlib.Path | None]) -> None:
        """`folder`: where the bridge that runs has its files; None before there is one."""
        self._folder = folder
        #: The folder that holds them, and their names.
        self._told: tuple[pathlib.Path | None, frozenset[str]] = (None, frozenset())

    def keep(self, exchanged: bool = False) -> None:
        """Write it anew, beside whoever calls, if there are other names than at the last call, or classes were `exchanged`."""
        classes = getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {})
        folder, names = self._folder(), frozenset(list(classes))
        if folder is not None and (exchanged or (folder, names) != self._told):
            self._told = folder, names
            threading.Thread(target=self._write, args=(folder, dict(classes)), name="envmanager-classes", daemon=True).start()

    def _write(self, folder: pathlib.Path, classes: dict[str, Any]) -> None:
        try:
            fresh = folder / f"classes.{os.getpid()}.new"
            fresh.write_text(json.dumps({name: _facts(cls) for name, cls in classes.items()}, default=str))
            os.replace(fresh, folder / "classes.json")
        except OSError as error:
            log.debug("comfyui-envmanager: the node classes were not written down: %s", error)


def _facts(cls: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in NAMES:
        with contextlib.suppress(Exception):  # a class of a newer kind makes them when asked, with a pack's own code
            value = getattr(cls, name, None)
            if value is not None:
                found[name] = list(tuple.__iter__(value)) if isinstance(value, tuple) else value
    return found
