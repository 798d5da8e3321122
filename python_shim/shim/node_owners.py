"""Which node pack the classes in `nodes.NODE_CLASS_MAPPINGS` are of."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from .proxy import is_proxy, own_attributes


class NodeOwners:
    """ComfyUI writes a pack's name into its classes, but not into those that a pack puts into the mapping itself, and the same one for
    `twin.py` as for the folder `twin`. So what is new in the mapping after a pack was loaded is that pack's."""

    def __init__(self) -> None:
        #: By the identity of the class, since a pack's metaclass may do anything with `==` and hashes.
        self._loaded: dict[int, tuple[Any, str]] = {}

    @contextlib.contextmanager
    def loading(self, pack: str) -> Iterator[None]:
        """Around ComfyUI's loading of a pack's folder; `pack` is empty for a file, which cannot be isolated."""
        before = dict(mappings())
        yield
        for name, cls in list(mappings().items()):
            # what takes the place of another one's class stays in ComfyUI, unless ComfyUI's loader has put it there
            if before.get(name) is not cls and (not pack or name not in before or is_proxy(before[name])):
                self._loaded[id(cls)] = (cls, pack)

    def pack_of(self, cls: Any) -> str:
        """The folder of a class's pack; empty: it has none."""
        if id(cls) in self._loaded:
            return self._loaded[id(cls)][1]
        parent, _, pack = str(own_attributes(cls).get("RELATIVE_PYTHON_MODULE", "")).partition(".")
        return pack if parent == "custom_nodes" else ""


def mappings() -> Any:
    """Node classes of this ComfyUI by name."""
    return sys.modules["nodes"].NODE_CLASS_MAPPINGS
