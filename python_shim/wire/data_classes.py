"""Plain data classes of ComfyUI's API (MESH, SPLAT, SVG, curves …, and those that come after them): what an object holds crosses, and an
object of the same class holds it there.

It is made without its `__init__`, of plain attributes alone. A class that has a say in how its objects are made, copied or destroyed is
none of these. A message names a class, and never causes an import.
"""

from __future__ import annotations

import abc
import sys
import types
from typing import Any

from . import named

#: Where such classes are from.
_PACKAGE = "comfy_api."
#: With any of these a class is more than its attributes.
_OWN_WAYS = frozenset(
    "__reduce__ __reduce_ex__ __getstate__ __setstate__ __getnewargs__ __getnewargs_ex__ __copy__ __deepcopy__ __new__ __del__ "
    "__setattr__ __delattr__ __getattribute__".split()
)
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class of Python code


def is_data_class(kind: Any) -> bool:
    """Whether a class is one: ComfyUI's own, under its own name, and so are its bases."""
    if not kind.__module__.startswith(_PACKAGE) or named.loaded(kind.__qualname__, kind.__module__) is not kind:
        return False
    return all(base is object or base is abc.ABC or _is_plain(base) for base in kind.__mro__)


def _is_plain(base: Any) -> bool:
    own = vars(base)
    if type(base) not in (type, abc.ABCMeta) or not base.__flags__ & _HEAP_TYPE or not base.__module__.startswith(_PACKAGE):
        return False
    slots = any(type(held) is types.MemberDescriptorType for held in own.values())
    return not slots and own.keys().isdisjoint(_OWN_WAYS)


def make(name: str, module: str, attributes: dict[str, Any]) -> Any:
    """An object of that class. Raises LookupError where the class is not loaded here, or is none of these."""
    kind = named.loaded(name, module)
    if not isinstance(kind, type) or kind.__qualname__ != name or kind.__module__ != module or not is_data_class(kind):
        known = "has no plain class of that name" if module in sys.modules else "is not imported here"
        raise LookupError(f"{module} {known}")
    made = object.__new__(kind)
    vars(made).update(attributes)
    return made
