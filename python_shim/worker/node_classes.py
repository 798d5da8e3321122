"""`nodes.NODE_CLASS_MAPPINGS` of a worker, where packs look other node classes up at run time.

A worker has ComfyUI's basic nodes and its own packs'. The nodes of `comfy_extras` are loaded when one is asked for. Of all others a worker
knows what they say of themselves (`shim/class_facts.py`): enough to look at, not to run.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import threading
from typing import Any

_TUPLES = ("RETURN_TYPES", "RETURN_NAMES", "OUTPUT_IS_LIST")


class NodeClasses(dict[str, Any]):
    """The classes by name. Iterating shows what is loaded; asking by name finds more."""

    def __init__(self, nodes: Any, facts: str) -> None:
        super().__init__(nodes.NODE_CLASS_MAPPINGS)
        self._nodes, self._facts = nodes, facts
        self._extras = os.path.join(os.path.dirname(os.path.abspath(nodes.__file__)), "comfy_extras")
        self._texts: dict[str, str] | None = None
        self._basic = frozenset(self)

    def __contains__(self, name: object) -> bool:
        """Whether it can be run here: a class of another pack counts as not installed."""
        return super().__contains__(name) or self._load(name)

    def get(self, name: Any, default: Any = None) -> Any:
        """As `in`: what cannot be run here is not there."""
        return super().get(name, default) if name in self else default

    def __missing__(self, name: str) -> Any:
        if self._load(name):
            return self[name]
        facts = self.of_host().get(name)
        if facts is None:
            raise KeyError(name)
        return _stand_in(name, facts)

    def put_by_packs(self) -> dict[str, Any]:
        """Classes that a pack has put here itself. Loaders write into a class where it is from."""
        own = {name: cls for name, cls in self.items() if name not in self._basic and isinstance(cls, type)}
        return {name: cls for name, cls in own.items() if "RELATIVE_PYTHON_MODULE" not in vars(cls)}

    def _load(self, name: object) -> bool:
        """Import the file of `comfy_extras` that has the class, if one has."""
        if not isinstance(name, str):
            return False
        if self._texts is None:
            self._texts = dict(_read(self._extras))
        quoted = re.compile(rf"""["']{re.escape(name)}["']""")
        for path in [path for path, text in self._texts.items() if quoted.search(text)]:
            del self._texts[path]
            # a thread of its own: ComfyUI's loader is async, and packs ask from within a running event loop too
            thread = threading.Thread(target=self._import, args=(path,), name="envmanager-import")
            thread.start()
            thread.join()
            if super().__contains__(name):
                return True
        return False

    def _import(self, path: str) -> None:
        loading = self._nodes.load_custom_node(path, module_parent="comfy_extras")
        if inspect.isawaitable(loading):
            asyncio.run(_await(loading))

    def of_host(self) -> dict[str, dict[str, Any]]:
        """What the classes of ComfyUI say of themselves."""
        try:
            with open(self._facts, encoding="utf-8") as file:  # noqa: PTH123 - a worker starts without pathlib
                found: dict[str, dict[str, Any]] = json.load(file)
            return found
        except (OSError, ValueError):
            return {}


def provide(nodes: Any) -> None:
    """Put it in place of ComfyUI's own, before any pack takes that."""
    if hasattr(nodes, "NODE_CLASS_MAPPINGS"):
        nodes.NODE_CLASS_MAPPINGS = NodeClasses(nodes, os.environ.get("ENVMANAGER_CLASSES", ""))


def _read(folder: str) -> list[tuple[str, str]]:
    if not os.path.isdir(folder):
        return []
    found = []
    for name in sorted(os.listdir(folder)):
        if name.startswith("nodes_") and name.endswith(".py"):
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                found.append((path, file.read()))
    return found


def _stand_in(name: str, facts: dict[str, Any]) -> Any:
    def not_here(self: Any, *args: Any, **kwargs: Any) -> Any:
        what = f"{name} is of another node pack, and cannot be run from an isolated node."
        raise RuntimeError(f"{what} Run this node inside ComfyUI: switch its isolation off.")

    body = {key: tuple(value) if key in _TUPLES and isinstance(value, list) else value for key, value in facts.items()}
    return type(name, (), {**body, "__init__": not_here})


async def _await(value: Any) -> Any:
    return await value
