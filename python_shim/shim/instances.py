"""Node objects of ComfyUI: what stands for one that its worker makes, and names that never repeat."""

from __future__ import annotations

import inspect
import itertools
import types
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


#: What ComfyUI asks a node object for, beside the method that does the work (`execution.py`).
_ASKED = frozenset(("FUNCTION", "INPUT_IS_LIST", "OUTPUT_IS_LIST", "RETURN_TYPES", "check_lazy_status"))


def is_made_elsewhere(cls: Any) -> bool:
    """Whether making an object of a class does something, and its class answers for the object all the same: nothing that the class is made
    of computes what ComfyUI asks, or names it."""
    bases = [] if not isinstance(cls, type) else list(type.mro(cls))[:-1]
    if not any("__init__" in vars(base) for base in bases):
        return False
    odd = ("__new__", "__getattr__", "__getattribute__", "__setattr__")
    if any(name in vars(base) for base in bases for name in odd) or type(cls) is not type:
        return False
    asked = [inspect.getattr_static(cls, name, None) for name in _ASKED]
    plain = all(isinstance(value, (type(None), str, bool, list, tuple, types.FunctionType)) for value in asked)
    return (
        plain and isinstance(cls.FUNCTION, str) and not any(_ASKED & names for base in bases for names in map(_named, vars(base).values()))
    )


def _named(value: Any) -> set[str]:
    """The attributes and texts that a function of a class names; of what is no plain function everything that could matter."""
    function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
    if isinstance(function, property):
        return set().union(*(_named(part) for part in (function.fget, function.fset, function.fdel) if part is not None))
    if not callable(function):
        return set()
    code = getattr(function, "__code__", None)
    return _names_in(code) if code is not None else set(_ASKED)


def _names_in(code: types.CodeType) -> set[str]:
    inner = [_names_in(each) for each in code.co_consts if isinstance(each, types.CodeType)]
    texts = {each for each in code.co_consts if isinstance(each, str)}
    return set(code.co_names).union(texts, *inner) | ({"FUNCTION"} if {"__dict__", "setattr", "vars"} & set(code.co_names) else set())


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
