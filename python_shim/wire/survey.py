"""One look through a value before it is encoded, level by level: whole levels are asked at once, not each container for itself.

It finds what stands in the value more than once, which must be one object on the other side too, and which lists and dicts are plain
JSON as they are: those travel without a second look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from .named import is_named
from .scalars import FEWEST, LEAVES, PACK_FROM, SCALARS, are_keys, is_one_of, is_plain, kinds_of, packed_kind

MAX_DEPTH = 100
#: So many floats in containers of one level travel as machine numbers: JSON writes each with all its digits.
_MANY_FLOATS = 64
CONTAINERS: frozenset[type] = frozenset((list, dict, tuple, set, frozenset))
#: So many values in each other are quicker done one by one than level by level.
_FEW = 32
#: What is to be looked through of other kinds: filled by the modules that know them.
CHILDREN: dict[type, Callable[[Any], Iterable[Any]]] = {}


#: Classes of tensors and arrays: they have parts only where they have attributes.
ONE_PIECE: set[type] = set()


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


def is_small(value: Any) -> bool:
    """Whether a value is a few scalars and tensors in lists, tuples and dicts, and none of them twice: nothing more need be known of it."""
    try:
        return _left(value, _FEW, set()) >= 0
    except Exception:  # noqa: BLE001 - a metaclass of a pack's own
        return False


def _left(value: Any, left: int, met: set[int]) -> int:
    """How many more values may come after this one; negative: it is too much, or of another kind."""
    kind = type(value)
    if kind in SCALARS:
        return left - 1
    known = kind in ONE_PIECE or kind is list or kind is dict or kind is tuple
    if not known or id(value) in met:
        return -1
    met.add(id(value))
    if kind in ONE_PIECE:
        return -1 if getattr(value, "__dict__", None) else left - 1
    if len(value) > left:
        return -1
    if kind is dict and not set(map(type, value)) <= SCALARS:
        return -1
    for item in value.values() if kind is dict else value:
        left = _left(item, left, met)
        if left < 0:
            return -1
    return left


class Survey:
    """What was found in one value. Ids are of objects that the survey keeps alive."""

    __slots__ = ("_again", "_levels", "_met", "_rough", "packed", "plain", "shared")

    def __init__(self, value: Any) -> None:
        #: Met more than once.
        self.shared: set[int] = set()
        #: Lists and dicts that are the same after JSON, with all in them.
        self.plain: set[int] = set()
        #: Lists of nothing but many numbers, and of which kind.
        self.packed: dict[int, type] = {}
        #: Each container once, at the level where it was met first.
        self._levels: list[list[Any]] = []
        self._met: set[int] = set()
        #: Empty tuples and frozensets that were met more than once: there is only one of each, so that it means nothing.
        self._again: set[int] = set()
        #: Lists and dicts that are not plain by what they hold directly.
        self._rough: set[int] = set()
        if not is_one_of(value, LEAVES):
            self._judge(self._look([value]))

    def _look(self, level: list[Any]) -> list[Any]:
        """Fill the levels; what stands too deep is given back."""
        while level and len(self._levels) <= MAX_DEPTH:
            level = self._first(level)
            self._levels.append(level)
            level = self._below(level)
        return level

    def _first(self, level: list[Any]) -> list[Any]:
        """Those that are met for the first time."""
        ids = list(map(id, level))
        new = set(ids) - self._met
        self._met |= new
        if len(new) == len(ids):
            return level
        first = []
        for item, key in zip(level, ids, strict=True):
            if key in new:
                new.discard(key)
                first.append(item)
            elif (type(item) is tuple or type(item) is frozenset) and not item:
                self._again.add(key)
            else:
                self.shared.add(key)
        return first

    def _below(self, level: list[Any]) -> list[Any]:
        """What the containers of a level hold, but for scalars."""
        found: list[Any] = []
        for kind, members in _by_kind(level):
            if kind is list:
                found += self._in_lists(members)
            elif kind is dict:
                found += self._in_dicts(members)
            else:
                values = _joined(members) if kind is not None else _joined([_parts(member) for member in members])
                found += _no_leaves(values, kinds_of(values))
        return found

    def _in_lists(self, members: list[Any]) -> list[Any]:
        values = _joined(members)
        kinds = kinds_of(values)
        if kinds is not None and not kinds.isdisjoint(PACK_FROM) and max(map(len, members)) >= FEWEST:
            self._pack(members, kinds)
            if len(self.packed) >= len(members) and self.packed.keys() >= set(map(id, members)):
                return []
        self._mark(members, kinds, values, members)
        return _no_leaves(values, kinds)

    def _pack(self, members: list[Any], kinds: set[type]) -> None:
        for member in members:
            kind = packed_kind(kinds if len(members) == 1 or len(kinds) == 1 else kinds_of(member), len(member))
            if kind is not None:
                self.packed[id(member)] = kind
                self._rough.add(id(member))

    def _in_dicts(self, members: list[Any]) -> list[Any]:
        keys, values = list(chain.from_iterable(members)), list(chain.from_iterable(map(dict.values, members)))
        keys_kinds, kinds = kinds_of(keys), kinds_of(values)
        if keys and not are_keys(keys_kinds, keys):
            self._rough.update(id(member) for member in members if member and not are_keys(kinds_of(member), member))
        self._mark(members, kinds, values, map(dict.values, members))
        return _no_leaves(keys, keys_kinds) + _no_leaves(values, kinds)

    def _mark(self, members: list[Any], kinds: set[type] | None, values: list[Any], inner: Iterable[Any]) -> None:
        """Those that are not plain JSON by what they hold directly; `inner`: that of each, `values`: of all, `kinds`: its types."""
        if kinds is not None and float in kinds and list(map(type, values)).count(float) >= _MANY_FLOATS:
            self._rough.update(map(id, members))
        elif not _is_json(kinds, values):
            self._rough.update(id(member) for member, held in zip(members, inner, strict=True) if not _is_json(kinds_of(held), held))

    def _judge(self, too_deep: list[Any]) -> None:
        """Which lists and dicts are plain, from the innermost out: no container that holds something met before, wherever that was."""
        before = self.shared | self._again
        bad = before.union(map(id, too_deep))
        for level in reversed(self._levels):
            now = set(before)
            for kind, members in _by_kind(level):
                ids = set(map(id, members))
                if kind is list or kind is dict:
                    rough = self._rough & ids
                    if bad:
                        rough.update(
                            id(member) for member in members if not bad.isdisjoint(map(id, member.values() if kind is dict else member))
                        )
                    self.plain |= ids - rough
                    now |= rough
                else:
                    now |= ids
            bad = now


def _by_kind(level: list[Any]) -> list[tuple[type | None, list[Any]]]:
    """The containers of a level by their type; under None what is of another one."""
    kinds = kinds_of(level)
    if kinds is not None and len(kinds) == 1:
        (kind,) = kinds
        return [(kind if kind in CONTAINERS else None, level)]
    groups: list[tuple[type | None, list[Any]]] = [
        (kind, [item for item in level if type(item) is kind]) for kind in (CONTAINERS if kinds is None else CONTAINERS & kinds)
    ]
    if kinds is None or not kinds <= CONTAINERS:
        groups.append((None, [item for item in level if not is_one_of(item, CONTAINERS)]))
    return [(kind, members) for kind, members in groups if members]


def _joined(members: Sequence[Any]) -> Any:
    return list(chain.from_iterable(members)) if len(members) > 1 or type(members[0]) is not list else members[0]


def _no_leaves(values: Sequence[Any], kinds: set[type] | None) -> list[Any]:
    if kinds is None:
        return [value for value in values if not is_one_of(value, LEAVES)]
    if kinds <= LEAVES:
        return []
    return list(values) if kinds.isdisjoint(LEAVES) else [value for value in values if type(value) not in LEAVES]


def _is_json(kinds: set[type] | None, values: Any) -> bool:
    """Whether the scalars among these are the same after JSON, and no others are leaves."""
    if kinds is None:
        return False
    if kinds <= SCALARS:
        return not kinds or is_plain(kinds, values)
    if bytes in kinds or complex in kinds:
        return False
    scalars = kinds & SCALARS
    return not scalars or is_plain(scalars, [value for value in values if type(value) in scalars])


def _parts(value: Any) -> list[Any]:
    children = children_of(type(value))
    try:
        return [] if children is None else list(children(value))
    except Exception:  # noqa: BLE001 - who writes it says what is wrong, and where
        return []
