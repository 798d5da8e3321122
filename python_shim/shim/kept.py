"""Whether an output that ComfyUI keeps can still be used: it may hold an object of a worker that has ended, or one that was made where
its node does not run any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .handles import RemoteHandle, owner_of_handle

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})
_CONTAINERS = (list, tuple, set, frozenset)


def holds(value: Any, is_wanted: Callable[[Any], bool]) -> bool:
    """Whether a value or something in its lists, tuples, sets and dicts is wanted. Plain values are never asked about."""
    waiting, seen = [value], set()
    while waiting:
        current = waiting.pop()
        kind = type(current)
        if kind in _PLAIN:
            continue
        if isinstance(current, (dict, *_CONTAINERS)):
            if id(current) in seen:
                continue
            seen.add(id(current))
            items = current.values() if isinstance(current, dict) else current
            if not set(map(type, items)) <= _PLAIN:  # a long list of numbers is passed over at once
                waiting.extend(items)
        elif is_wanted(current):
            return True
    return False


def is_handle(value: Any) -> bool:
    """Whether it stands for an object of a worker."""
    return type(value) is RemoteHandle


def is_live(value: Any) -> bool:
    """Whether it is, or stands for, an object that belongs where it was made. Tensors and arrays do not."""
    if is_handle(value):
        return True
    return type(value).__module__.partition(".")[0] not in ("torch", "numpy", "PIL")


def dead_handles(is_gone: Callable[[str], bool]) -> Callable[[Any], bool]:
    """For `holds`: objects of processes that have ended."""
    return lambda value: is_handle(value) and is_gone(owner_of_handle(value) or "")


def dead_owners(value: Any, is_gone: Callable[[str], bool]) -> set[str]:
    """The processes that have ended and had objects which a value holds."""
    found: set[str] = set()

    def note(item: Any) -> bool:
        owner = owner_of_handle(item) or ""
        if is_handle(item) and is_gone(owner):
            found.add(owner)
        return False

    holds(value, note)
    return found
