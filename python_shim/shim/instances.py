"""Node objects of ComfyUI: what stands for one that its worker makes, and names that never repeat."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from ..wire.segments import OWNER


class Unmade:
    """ComfyUI's object of a node that runs in a worker. The worker makes the one that does the work: a class's `__init__` runs there, and
    nowhere else. What ComfyUI asks of a node object, the class answers."""

    def __init__(self, made_of: type) -> None:
        self._envmanager_class = made_of

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_envmanager_class"], name)


def class_of(obj: Any) -> type:
    """The class of a node object, or a class itself."""
    kind = type(obj)
    if kind is Unmade:
        return obj._envmanager_class
    return obj if isinstance(obj, type) else kind


class Instances:
    """Names of node objects that never repeat: a worker keeps an object of its own for each, until ComfyUI lets go of its one."""

    def __init__(self, release: Callable[[str], None]) -> None:
        self._release, self._numbers = release, itertools.count(1)
        self._names: dict[int, str] = {}
        #: Objects that tell nobody of their end (`__slots__`): ComfyUI's cache is looked through for them.
        self._silent: dict[int, Any] = {}

    def name_of(self, obj: Any) -> str | None:
        """None for a class."""
        if isinstance(obj, type):
            return None
        key = id(obj)
        if key not in self._names:
            name = f"{OWNER}-i{next(self._numbers)}"
            try:
                weakref.finalize(obj, self._ended, key, name).atexit = False
            except TypeError:
                self._silent[key] = obj
            self._names[key] = name
        return self._names[key]

    def sweep(self, kept: Iterable[Any]) -> None:
        """Before a prompt: of those that ComfyUI does not keep any more, none can be used again."""
        if self._silent:
            there = {id(obj) for obj in kept}
            for key in [key for key in self._silent if key not in there]:
                del self._silent[key]
                self._ended(key, self._names[key])

    def _ended(self, key: int, name: str) -> None:
        self._names.pop(key, None)
        self._release(name)
