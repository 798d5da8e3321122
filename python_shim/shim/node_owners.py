"""Which node pack the names in `nodes.NODE_CLASS_MAPPINGS` are of."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from .proxy import is_proxy, own_attributes


class NodeOwners:
    """ComfyUI writes a pack's name into a class: not into one that a pack puts into the mapping itself, the same for `twin.py` as for the
    folder `twin`, and the last pack's into a class that has names of two packs. So what is new in the mapping after a pack was loaded is
    that pack's."""

    def __init__(self) -> None:
        #: By name: the class, and the folder of its pack.
        self._loaded: dict[str, tuple[Any, str]] = {}
        self._has_begun = False

    @contextlib.contextmanager
    def loading(self, pack: str) -> Iterator[None]:
        """Around ComfyUI's loading of a pack's folder; `pack` is empty for a file, which cannot be isolated."""
        before = dict(mappings())
        if not self._has_begun:
            self._has_begun = True
            self._loaded.update({name: (cls, "") for name, cls in before.items() if not is_proxy(cls)})
        yield
        for name, cls in list(mappings().items()):
            # what takes the place of another one's class stays in ComfyUI, unless ComfyUI's loader has put it there
            if before.get(name) is not cls and (not pack or name not in before or is_proxy(before[name])):
                self._loaded[name] = (cls, pack)

    def pack_of(self, name: str) -> str:
        """The folder of the pack that a node class is of under this name; empty: of none."""
        cls, (known, pack) = mappings().get(name), self._loaded.get(name, (None, ""))
        if not isinstance(cls, type) or known is cls:
            return pack if known is cls else ""
        parent, _, pack = str(own_attributes(cls).get("RELATIVE_PYTHON_MODULE", "")).partition(".")
        return pack if parent == "custom_nodes" else ""


def mappings() -> Any:
    """Node classes of this ComfyUI by name."""
    return sys.modules["nodes"].NODE_CLASS_MAPPINGS
