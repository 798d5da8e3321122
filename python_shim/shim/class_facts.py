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

    def __init__(self, file: Callable[[], pathlib.Path]) -> None:
        self._file, self._told = file, frozenset[str]()

    def keep(self, exchanged: bool = False) -> None:
        """Write it anew, beside whoever calls, if there are other names than at the last call, or classes were `exchanged`."""
        classes = getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {})
        names = frozenset(list(classes))
        if exchanged or names != self._told:
            self._told = names
            threading.Thread(target=self._write, args=(dict(classes),), name="envmanager-classes", daemon=True).start()

    def _write(self, classes: dict[str, Any]) -> None:
        try:
            file = self._file()
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = file.with_suffix(f".{os.getpid()}.new")
            fresh.write_text(json.dumps({name: _facts(cls) for name, cls in classes.items()}, default=str))
            os.replace(fresh, file)
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
