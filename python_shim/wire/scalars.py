"""Numbers, texts and truth values, many at once: of which types they are, and which are the same after JSON."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterable
from math import isfinite
from typing import Any

#: Strings and bytes from this size on go through shared memory.
BLOB_BYTES = 1 << 16
#: Lists of this many numbers of one kind travel as machine numbers: floats take JSON longest.
PACK_FROM: dict[type, int] = {int: 256, bool: 256, float: 16}
FEWEST = min(PACK_FROM.values())
SCALARS: frozenset[type] = frozenset((int, float, str, bool, type(None)))
#: Values without parts that need no identity.
LEAVES: frozenset[type] = SCALARS | {bytes, complex}
_INT, _FLOAT, _STR = frozenset((int,)), frozenset((float,)), frozenset((str,))
_TEXTS = _STR | {type(None), bool}
_find_pair = re.compile("[\ud800-\udbff][\udc00-\udfff]").search


def kinds_of(values: Iterable[Any]) -> set[type] | None:
    """The types of all of them; None if one cannot be asked for its hash."""
    try:
        return set(map(type, values))
    except Exception:  # noqa: BLE001 - a metaclass of a pack's own
        return None


def is_one_of(value: Any, kinds: Iterable[type]) -> bool:
    """Whether a value is exactly of one of these types, without asking its own for a hash."""
    kind = type(value)
    return any(kind is each for each in kinds)


def is_plain(kinds: Iterable[type], values: Iterable[Any]) -> bool:
    """Whether these scalars are the same after JSON: no huge numbers, nothing but finite ones, no text for shared memory."""
    kinds = frozenset(kinds)
    if kinds <= _TEXTS:
        return str not in kinds or _are_short(kinds, values)
    if kinds == _INT:
        return _fit(values)
    if kinds == _FLOAT:
        return all(map(isfinite, values))
    return all(is_plain((kind,), [value for value in values if type(value) is kind]) for kind in kinds)


def _fit(values: Iterable[int]) -> bool:
    """Whether all have at most 64 bits: larger ones take JSON long."""
    try:
        array("q", values)
    except OverflowError:
        return False
    return True


def are_keys(kinds: set[type] | None, values: Iterable[Any]) -> bool:
    """Whether these keys of dicts are text that is the same after JSON."""
    return kinds == _STR and _are_short(_STR, set(values))  # many dicts have the same keys


def _are_short(kinds: frozenset[type], values: Iterable[Any]) -> bool:
    texts = values if kinds == _STR else [value for value in values if type(value) is str]
    if max(map(len, texts)) >= BLOB_BYTES:
        return False
    return all(map(str.isascii, texts)) or not any(map(_find_pair, texts))


def is_json(text: str) -> bool:
    """Whether a text is the same after JSON, which makes one character of two halves of one."""
    return text.isascii() or _find_pair(text) is None


def packed_kind(kinds: set[type] | None, count: int) -> type | None:
    """The one type of so many numbers that they travel as machine numbers."""
    if kinds is None or len(kinds) != 1:
        return None
    (kind,) = kinds
    return kind if count >= PACK_FROM.get(kind, count + 1) else None


def known_nan(name: str) -> Any:
    """`math.nan` and `numpy.nan` are one object each, which equals itself in a list: ComfyUI's cache sees that. None if there is none."""
    module, _, attribute = name.partition(".")
    return getattr(sys.modules.get(module), attribute, None)


#: torch has the one of `math`.
KNOWN_NANS = ("math.nan", "numpy.nan")
