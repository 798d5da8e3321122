"""One look through a value before it is encoded.

It finds what stands in the value more than once, which must be one object on the other side too, and which containers are plain JSON as
they are: those travel without a second look. Most values have nothing shared, and cost one set of types for each container.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

from .named import is_named

#: Strings and bytes from this size on go through shared memory.
BLOB_BYTES = 1 << 16
MAX_DEPTH = 100
#: Lists of this many numbers travel as machine numbers.
PACK_FROM = 256
SCALARS: frozenset[type] = frozenset((int, float, str, bool, type(None)))
#: Values without parts that need no identity.
LEAVES: frozenset[type] = SCALARS | {bytes, complex}
_INT, _FLOAT, _STR, _BOOL = frozenset((int,)), frozenset((float,)), frozenset((str,)), frozenset((bool,))
_TEXTS = _STR | {type(None), bool}
_LARGEST = (1 << 63) - 1
_find_pair = re.compile("[\ud800-\udbff][\udc00-\udfff]").search

#: What is to be looked through of other kinds: filled by the modules that know them.
CHILDREN: dict[type, Callable[[Any], Iterable[Any]]] = {}


def kinds_of(values: Iterable[Any]) -> set[type] | None:
    """The types of all of them; None if one cannot be asked for its hash."""
    try:
        return set(map(type, values))
    except Exception:  # noqa: BLE001 - a metaclass of a pack's own
        return None


def code_of(kinds: set[type], count: int) -> str | None:
    """How a list of so many of these travels as machine numbers: `array`'s type codes, `?` for truth values."""
    if count < PACK_FROM or len(kinds) != 1:
        return None
    return "q" if kinds == _INT else "d" if kinds == _FLOAT else "?" if kinds == _BOOL else None


def is_plain(kinds: set[type], values: Iterable[Any]) -> bool:
    """Whether these scalars are the same after JSON: no huge numbers, nothing but finite ones, no text for shared memory."""
    if kinds <= _TEXTS:
        return str not in kinds or _are_short(kinds, values)
    if kinds == _INT:
        return min(values) >= -_LARGEST and max(values) <= _LARGEST
    if kinds == _FLOAT:
        return all(map(isfinite, values))
    for value in values:
        kind = type(value)
        if kind is int:
            if not -_LARGEST <= value <= _LARGEST:
                return False
        elif kind is float:
            if not isfinite(value):
                return False
        elif kind is str and (len(value) >= BLOB_BYTES or not is_json(value)):
            return False
    return True


def _are_short(kinds: set[type], values: Iterable[Any]) -> bool:
    if kinds != _STR:
        values = [value for value in values if type(value) is str]
    if max(map(len, values)) >= BLOB_BYTES:
        return False
    return all(map(str.isascii, values)) or not any(map(_find_pair, values))


def is_json(text: str) -> bool:
    """Whether a text is the same after JSON, which makes one character of two halves of one."""
    return text.isascii() or _find_pair(text) is None


def children_of(kind: type) -> Callable[[Any], Iterable[Any]] | None:
    """How values of a class are looked through; None where there is nothing to look for."""
    try:
        children = CHILDREN.get(kind) or (tuple.__iter__ if is_named(kind) else None)
        if children is None:
            from .writers import writer_for  # makes the class known, if it can be

            writer_for(kind)
            children = CHILDREN.get(kind)
    except Exception:  # noqa: BLE001 - a class without a hash, or with a metaclass of a pack's own
        return None
    return children


class Survey:
    """What was found in one value. Ids are of objects that the value keeps alive."""

    __slots__ = ("_counted", "_met", "code", "shared")

    def __init__(self, value: Any) -> None:
        #: Met more than once.
        self.shared: set[int] | None = None
        #: Lists that travel as machine numbers.
        self.code: dict[int, str] | None = None
        self._met: dict[int, bool] = {}
        self._counted = False
        if type(value) is not str:
            self._walk(value, 0)
        if self.shared:  # a container that holds something shared is not plain, wherever it was met first
            self._counted, self._met = True, {}
            self._walk(value, 0)

    def is_plain(self, value: Any) -> bool:
        """Whether this container, and all in it, is the same after JSON."""
        return self._met.get(id(value), False)

    def _is_shared(self, key: int) -> bool:
        return self.shared is not None and key in self.shared

    def _walk(self, value: Any, depth: int) -> bool:
        key, kind, met = id(value), type(value), self._met
        if key in met:
            if not self._counted and not ((kind is tuple or kind is frozenset) and not value):  # of those there is only one
                if self.shared is None:
                    self.shared = set()
                self.shared.add(key)
            return False
        met[key] = False
        plain = kind is list
        if plain:
            values = value
        elif kind is dict:
            values, plain = value.values(), self._keys(value, depth)
        elif kind is tuple or kind is set or kind is frozenset:
            values = value
        else:
            values = self._parts(value, kind)
        if not values or depth >= MAX_DEPTH:
            met[key] = plain and not values
            return met[key] and not self._is_shared(key)
        plain = self._values(value, values, plain, depth)
        met[key] = plain
        return plain and not self._is_shared(key)

    def _values(self, value: Any, values: Any, plain: bool, depth: int) -> bool:
        kinds = kinds_of(values)
        if kinds is not None and kinds <= SCALARS:
            if plain and type(value) is list and (code := code_of(kinds, len(values))) is not None:
                if self.code is None:
                    self.code = {}
                self.code[id(value)] = code
                return False
            return plain and is_plain(kinds, values)
        scalars = []
        for item in values:
            kind = type(item)
            if kinds is not None and kind in SCALARS:
                scalars.append(item)
            elif (kinds is not None and kind in LEAVES) or not self._walk(item, depth + 1):
                plain = False
        return plain and (not scalars or is_plain(set(map(type, scalars)), scalars))

    def _keys(self, value: dict[Any, Any], depth: int) -> bool:
        """Whether all keys are short text; others are looked through."""
        kinds = kinds_of(value)
        if kinds == _STR or not value:
            return not value or _are_short({str}, value)
        for key in value:
            if kinds is None or (type(key) not in LEAVES):
                self._walk(key, depth + 1)
        return False

    def _parts(self, value: Any, kind: type) -> Any:
        children = children_of(kind)
        try:
            return () if children is None else list(children(value))
        except Exception:  # noqa: BLE001 - who writes it says what is wrong, and where
            return ()
