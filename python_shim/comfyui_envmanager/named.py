"""Finds a callable's name in a module: another process looks it up there."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple


class Place(NamedTuple):
    """`module.name(*args, **kwargs)`, where `name` may have dots."""

    module: str
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def place_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Place | None:
    """Where another process finds `func`; None if nowhere. Of a partial and of an object's method what is bound goes before `args`."""
    while isinstance(func, functools.partial):
        func, args, kwargs = func.func, (*func.args, *args), {**func.keywords, **kwargs}
    for module, name in _names(func):
        if _has(module, name, func):
            return Place(module, name, args, kwargs)
    owner = getattr(func, "__self__", None)
    if owner is None or inspect.ismodule(owner) or isinstance(owner, type):
        return None
    kind = getattr(type(owner), getattr(func, "__name__", ""), None)  # a method: its class's, with the object first
    return None if kind is None or kind is func else place_of(kind, (owner, *args), kwargs)


def _names(func: Any) -> Iterator[tuple[str, str]]:
    """Where it may be found; what is written in C says it in several ways."""
    name = getattr(func, "__qualname__", None) or getattr(func, "__name__", None)
    if not isinstance(name, str):
        return
    owner = getattr(func, "__objclass__", None) or getattr(func, "__self__", None)
    if isinstance(owner, type):
        yield owner.__module__, f"{owner.__qualname__}.{func.__name__}"
    if inspect.ismodule(owner):
        yield owner.__name__, name
    module = getattr(func, "__module__", None)
    if isinstance(module, str):
        yield module, name
    yield type(func).__module__, name  # numpy's ufuncs have no module of their own
    plain = func.__name__ if hasattr(func, "__name__") else name
    yield from [(known, plain) for known, place in list(sys.modules.items()) if "." not in known and _attributes(place).get(plain) is func]


def _has(module: str, name: str, func: Any) -> bool:
    if module == "__main__":
        return False
    try:
        found = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError):
        return False
    return found is func or (type(found) is type(func) and bool(found == func))


def _attributes(module: Any) -> dict[str, Any]:
    """Of whatever lies in sys.modules."""
    return getattr(module, "__dict__", {})
