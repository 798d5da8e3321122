"""Lists, tuples, dicts and sets in each other, as many as there may be: written and read a level at a time, not each for itself.

A level says of its containers what they are (`k`, by `_LETTERS`) and how many items they have (`n`), and of all their items together
what each is (`m`): a container of the next level (`c`), plain JSON (`.`), a float (`f`), a shared value that the message has already
(`a`), or anything else (`*`). One letter or number stands for all where they are alike. Dicts whose keys are text share the lists of
their keys (`keys`, `of`); in a level with others (`pairs`) the keys stand among the items, before the values.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, chain, compress, repeat
from operator import is_
from typing import TYPE_CHECKING, Any

from . import place
from .errors import NotPortable
from .place import Place
from .scalars import SCALARS, are_keys, is_one_of, is_plain, kinds_of, packed_kind
from .survey import CONTAINERS, MAX_DEPTH

if TYPE_CHECKING:
    from .encoder import Encoder

_LETTERS = {list: "l", tuple: "t", dict: "d", set: "s", frozenset: "f"}
_OWN = SCALARS | CONTAINERS
_CODES = {int: "q", float: "d", bool: "?"}


class Level:
    """Containers that stand equally deep, and where."""

    def __init__(self, containers: list[Any], above: Level | None, at: Place) -> None:
        self.containers, self.above, self._at = containers, above, at
        self.mask = ""
        kinds = set(map(type, containers))
        self.letters = _LETTERS[next(iter(kinds))] if len(kinds) == 1 else "".join(_LETTERS[type(one)] for one in containers)
        dicts = containers if kinds == {dict} else [one for one in containers if type(one) is dict] if dict in kinds else []
        keys = list(chain.from_iterable(dicts))
        #: Whether the keys of dicts stand among the items.
        self.pairs = bool(keys) and not are_keys(kinds_of(keys), keys)
        self.keys = [] if self.pairs else list(map(tuple, dicts))
        self.lengths = [len(one) * 2 if type(one) is dict else len(one) for one in containers] if self.pairs else list(map(len, containers))
        rows: Iterable[Any] = containers
        if dicts:
            rows = [_row(one, self.pairs) for one in containers] if self.pairs or len(kinds) > 1 else map(dict.values, containers)
        self.items: list[Any] = list(chain.from_iterable(rows))
        if len(self.items) != sum(self.lengths):
            raise RuntimeError("it was changed while it was read")

    def tag(self) -> dict[str, Any]:
        """Without what is as it mostly is."""
        alike = len(set(self.lengths)) == 1
        tag: dict[str, Any] = {"k": self.letters, "n": self.lengths[0] if alike else self.lengths, "m": self.mask}
        if self.pairs:
            tag["pairs"] = True
        elif self.keys:
            table = {keys: number for number, keys in enumerate(dict.fromkeys(self.keys))}
            tag["keys"] = list(table)
            if len(table) > 1:
                tag["of"] = [table[keys] for keys in self.keys]
        return tag

    def place_of(self, index: int) -> Place:
        """Where an item stands, by its number among all of the level."""
        which = bisect_right(self._starts, index) - 1
        container, offset = self.containers[which], index - self._starts[which]
        around = self._at if self.above is None else self.above.place_of(self.above.index_of(which))
        if type(container) is not dict:
            return place.below(around, place.ITEM, offset)
        keys = list(container)
        if self.pairs and offset < len(keys):
            return place.below(around, place.KEY_ITSELF, keys[offset])
        return place.below(around, place.ITEM, keys[offset - len(keys) if self.pairs else offset])

    @functools.cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(self.lengths[:-1])]

    @functools.cached_property
    def _inner(self) -> list[int]:
        return [index for index, letter in enumerate(self.mask) if letter == "c"]

    def index_of(self, which: int) -> int:
        """The number among the items of the container that is this one of the next level. For who has written the level."""
        return which if self.mask == "c" else self._inner[which]


def _where(items: list[Any], marks: list[Any], mark: Any) -> list[Any]:
    """The items that have this mark."""
    return list(compress(items, map(is_, marks, repeat(mark))))


def _row(container: Any, pairs: bool) -> Iterable[Any]:
    if type(container) is not dict:
        return container
    return [*container, *container.values()] if pairs else container.values()


class _Writer:
    """Writes one tree."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self._survey = encoder, encoder.survey
        self.leaves: list[Any] = []
        self.floats: list[float] = []
        self.others: list[Any] = []
        #: Numbers of what the message has already.
        self.again: list[int] = []

    def sort(self, level: Level, deep: int) -> list[Any]:
        """Put a level's items where they belong; those of the next level are given back."""
        items = level.items
        if not items:
            return []
        kinds = self._packed(level.containers) or kinds_of(items)
        letter = None if kinds is None else self._letter_of_all(kinds, items)
        if letter is None or letter == "*":
            return self._put(level, self._mask(kinds, items), deep)
        level.mask = letter
        if letter == "c":
            return items
        if letter == "f":
            self.floats += items
        else:
            self.leaves += items
        return []

    def _packed(self, containers: list[Any]) -> set[type] | None:
        """The one type of all items, if these are lists of many numbers that the survey has seen."""
        known = self._survey.packed
        kinds: set[Any] = set(map(known.get, map(id, containers))) if known else {None}
        return None if len(kinds) > 1 or None in kinds else kinds

    def _letter_of_all(self, kinds: set[type], items: list[Any]) -> str | None:
        """The one letter of many items; None if they may have several."""
        if kinds == {float}:
            return "f"
        if kinds <= SCALARS:
            return "." if float not in kinds and is_plain(kinds, items) else None
        shared, plain = self._survey.shared, self._survey.plain
        if not kinds <= CONTAINERS:
            return "*" if kinds.isdisjoint(_OWN) else None
        if shared and not shared.isdisjoint(map(id, items)):
            return None
        if kinds.isdisjoint((list, dict)) or plain.isdisjoint(map(id, items)):
            return "c"
        return "." if plain.issuperset(map(id, items)) else None

    def _mask(self, kinds: set[type] | None, items: list[Any]) -> list[str]:
        """The letter of each item."""
        if kinds is None:  # a class that cannot be asked
            return list(map(self._letter, items))
        types = list(map(type, items))
        letters: dict[type, str | None] = {
            kind: self._letter_of_all({kind}, _where(items, types, kind)) if kind in _OWN else "*" for kind in kinds
        }
        mask = list(map(letters.__getitem__, types))
        return [self._letter(item) if letter is None else letter for item, letter in zip(items, mask, strict=True)]

    def _letter(self, item: Any) -> str:
        kind = type(item)
        if kind is float:
            return "f"
        if is_one_of(item, SCALARS):
            return "." if is_plain((kind,), (item,)) else "*"
        if id(item) in self._survey.shared or not is_one_of(item, CONTAINERS):
            return "*"
        return "." if id(item) in self._survey.plain else "c"

    def _put(self, level: Level, mask: list[str], deep: int) -> list[Any]:
        items, letters = level.items, set(mask)
        if "f" in letters:
            self.floats += _where(items, mask, "f")
        if "." in letters:
            self.leaves += _where(items, mask, ".")
        if "*" in letters:
            letters = self._put_others(level, mask, deep)
        level.mask = mask[0] if len(letters) == 1 else "".join(mask)
        return _where(items, mask, "c") if "c" in letters else []

    def _put_others(self, level: Level, mask: list[str], deep: int) -> set[str]:
        encoder = self._encoder
        for index, item in enumerate(level.items):
            if mask[index] != "*":
                continue
            number = encoder.number_of(item)
            if number is None:
                self.others.append(encoder.form(item, (level, place.IN_LEVEL, index, deep)))
            else:
                mask[index] = "a"
                self.again.append(number)
        return set(mask)

    def packed_leaves(self) -> Any:
        """The plain items as machine numbers; None if they are not only numbers, or not many."""
        kind = packed_kind(kinds_of(self.leaves), len(self.leaves))
        return None if kind is None else self._encoder.numbers(self.leaves, _CODES[kind])


def write(encoder: Encoder, root: Any, at: Place) -> Any:
    """The form of a container and of all in it. Raises NotPortable with the place of what cannot be sent."""
    writer, levels = _Writer(encoder), []
    containers, above, deep = [root], None, at[3]
    while containers:
        if deep >= MAX_DEPTH:
            where = place.name_of(at if above is None else above.place_of(above.index_of(0)))
            raise NotPortable(where, f"nested deeper than {MAX_DEPTH} levels", "which cannot be sent", "Return a flatter structure.")
        level, deep = Level(containers, above, at), deep + 1
        containers, above = writer.sort(level, deep), level
        levels.append(level.tag())
    packed = writer.packed_leaves()
    tag = {"$": "tree", "levels": levels, "v": packed or writer.leaves}
    if writer.floats:
        tag["f"] = encoder.numbers(writer.floats, _CODES[float])
    if writer.others:
        tag["s"] = writer.others
    if writer.again:
        tag["a"] = writer.again
    return tag
