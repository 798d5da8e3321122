"""Named tuples: classes that `collections.namedtuple` or `typing.NamedTuple` made, with nothing added, are plain data."""

from __future__ import annotations

import collections
import functools
import keyword
import sys
import types
import weakref
from typing import Any

_reference: Any = collections.namedtuple("_reference", "one")
#: What such a class has of its own beside its fields; what typing and newer Pythons add says nothing about its values.
_OWN = frozenset(vars(_reference)) - {"one"}
_MORE = {
    "__annotations__",
    "__orig_bases__",
    "__annotate__",
    "__annotate_func__",
    "__annotations_cache__",
    "__static_attributes__",
    "__firstlineno__",
    "__conditional_annotations__",
    "_field_types",
}
_METHODS = ("_make", "_replace", "__repr__", "_asdict", "__getnewargs__")
_known: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def _code(cls: Any, name: str) -> Any:
    method = vars(cls).get(name)
    return getattr(getattr(method, "__func__", method), "__code__", None)


def _looks_plain(cls: Any) -> bool:
    fields = vars(cls).get("_fields")
    if cls.__bases__ != (tuple,) or type(cls) is not type or type(fields) is not tuple:
        return False
    if any(type(field) is not str for field in fields) or vars(cls).keys() - _OWN - _MORE - set(fields):
        return False
    getters = all(type(vars(cls).get(field)) is type(vars(_reference)["one"]) for field in fields)
    return getters and all(_code(cls, name) is _code(_reference, name) for name in _METHODS)


def is_named(cls: type) -> bool:
    """Whether a class is such a one."""
    if type(cls) is not type or tuple not in cls.__bases__:
        return False
    known = _known.get(cls)
    if known is None:
        known = _known[cls] = _looks_plain(cls)
    return known


def describe(cls: Any) -> dict[str, Any]:
    """What the other side needs to have the same class, or one that does the same."""
    return {"name": cls.__qualname__, "module": str(cls.__module__), "fields": list(cls._fields)}


@functools.lru_cache(maxsize=1024)
def _made(name: str, module: str, fields: tuple[str, ...]) -> Any:
    short = name.rpartition(".")[2]
    usable = short.isidentifier() and not keyword.iskeyword(short)
    made = collections.namedtuple(short if usable else "named", fields, rename=True, module=module)
    made.__qualname__ = name
    return made


def loaded(name: str, module: str) -> Any:
    """What stands under that name, `Outer.Inner`, in a module that is loaded here."""
    found = sys.modules.get(module)
    for part in name.split("."):
        held = getattr(found, "__dict__", None)
        found = held.get(part) if isinstance(held, (dict, types.MappingProxyType)) else None
    return found


def class_of(name: str, module: str, fields: tuple[str, ...]) -> Any:
    """The very class of that name where its module is loaded here; else one that is made, the same each time."""
    found = loaded(name, module)
    if not isinstance(found, type) or not is_named(found):
        return _made(name, module, fields)
    same = (found.__qualname__, found.__module__, vars(found)["_fields"]) == (name, module, fields)
    return found if same else _made(name, module, fields)
