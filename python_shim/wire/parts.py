"""What a value holds, and whether it crosses: asked of any value, without asking the value itself."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable
from typing import Any

from . import arrays, tensors
from .scalars import SCALARS
from .survey import children_of
from .writers import WRITERS, writer_for


def children(value: Any) -> Iterable[Any]:
    """The values that one that crosses whole directly holds; none of any other."""
    kind = type(value)
    try:
        if kind is dict:
            return [*value, *value.values()]
        if kind is list or kind is tuple or kind is set or kind is frozenset:
            return value
        if kind is types.SimpleNamespace:
            return list(vars(value).values())
        look = children_of(kind)
        return () if look is None else list(look(value))
    except Exception:  # noqa: BLE001 - one that is being changed, or has gone
        return ()


def crosses(value: Any) -> bool:
    """Whether values of this very class are written by value. Cheap."""
    kind = type(value)
    try:
        if kind in SCALARS:
            return True
        if kind not in WRITERS and writer_for(kind) is None:
            return False
        if tensors.is_tensor(kind):
            return tensors.is_dense(sys.modules["torch"], value)
        return arrays.array_kind(kind) is None or arrays.description_of(value.dtype) is not None
    except Exception:  # noqa: BLE001 - a class without a hash, or with a metaclass of a pack's own
        return False
