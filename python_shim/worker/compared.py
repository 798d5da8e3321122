"""What IS_CHANGED answered, as ComfyUI's cache compares it (`comfy_execution/caching.py`, `to_hashable`): text, numbers and bytes by their
value, whatever their class; mappings and sequences by what they hold; anything else is unlike everything, and so is NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..wire.survey import MAX_DEPTH
from ..wire.writers import WRITERS, writer_for

_PLAIN: dict[type, Any] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
}
_CONTAINERS = (list, tuple, dict)

#: What crosses for an object that would stay in its process.
UNLIKE_ALL = {"$": "float", "v": "nan"}


def as_compared(answer: Any, depth: int = 0) -> Any:
    """An answer that crosses, and that the cache takes for the same one."""
    kind = type(answer)
    if depth > MAX_DEPTH or any(kind is plain for plain in _PLAIN) or (not _is_container(kind) and _crosses(kind)):
        return answer
    for plain, value_of in _PLAIN.items():
        if issubclass(kind, plain):
            own = kind.__eq__ is not plain.__eq__ or kind.__hash__ is not plain.__hash__  # it compares in its own way: only there
            return answer if own else value_of(answer)
    if isinstance(answer, Mapping):
        return {as_compared(key, depth + 1): as_compared(item, depth + 1) for key, item in answer.items()}
    if isinstance(answer, Sequence):
        items = [as_compared(item, depth + 1) for item in answer]
        return tuple(items) if kind is tuple else items
    return answer


def _is_container(kind: type) -> bool:
    return any(kind is each for each in _CONTAINERS)


def _crosses(kind: type) -> bool:
    try:
        return (WRITERS.get(kind) or writer_for(kind)) is not None
    except Exception:  # noqa: BLE001 - a class without a hash, or with a metaclass of a pack's own
        return False
