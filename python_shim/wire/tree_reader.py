"""The other half of `tree.py`: containers in each other, of their levels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any

from .errors import CodedError

if TYPE_CHECKING:
    from .decoder import Decoder

#: Rows up to this length are cut at once.
_SHORT = 64
#: In place of an item that is a container of the next level.
_BELOW = object()
_MAKERS: dict[str, Any] = {"l": list, "t": tuple, "s": set, "f": frozenset}


def read(decoder: Decoder, tag: dict[str, Any]) -> Any:
    """The container that a tree's form is of. Raises BAD_REQUEST if its levels do not fit each other."""
    others = [decoder.part(form) for form in tag.get("s", ())]
    leaves = tag["v"] if isinstance(tag["v"], list) else decoder.part(tag["v"])
    floats = decoder.part(tag["f"]) if "f" in tag else ()
    try:
        return _read(
            tag["levels"], {".": iter(leaves), "f": iter(floats), "*": iter(others), "a": map(decoder.shared_one, tag.get("a", ()))}
        )
    except (LookupError, ValueError, TypeError, StopIteration) as error:
        text = f"a value whose levels do not fit each other ({type(error).__name__}: {error})"
        raise CodedError("BAD_REQUEST", text, "Restart ComfyUI: its parts differ.") from error


def _read(levels: Sequence[dict[str, Any]], sources: dict[str, Iterator[Any]]) -> Any:
    plans: list[tuple[dict[str, Any], int, list[Any] | None]] = []
    count = 1
    for level in levels:
        length, mask = level["n"], level["m"]
        total = length * count if isinstance(length, int) else sum(length)
        items: list[Any] | None = None
        if len(mask) != 1:
            items = [_BELOW if letter == "c" else next(sources[letter]) for letter in mask]
        elif mask != "c":
            items = list(islice(sources[mask], total))
        fits = len(level["k"]) in (1, count) and (isinstance(length, int) or len(length) == count)
        if not fits or (items is not None and len(items) != total):
            raise ValueError("items are missing")
        plans.append((level, count, items))
        count = total if mask == "c" else mask.count("c")
    if count:
        raise ValueError("a level is missing")
    made: list[Any] = []
    for level, many, items in reversed(plans):
        if items is None:
            items = made
        elif len(level["m"]) != 1:
            inner = iter(made)
            items = [next(inner) if item is _BELOW else item for item in items]
        made = _made(level, many, items)
    return made[0]


def _made(level: dict[str, Any], count: int, items: list[Any]) -> list[Any]:
    """The containers of a level, of their items."""
    letters, length = level["k"], level["n"]
    lengths = repeat(length, count) if isinstance(length, int) else length
    keys = iter(()) if level.get("pairs") else iter(_keys(level))
    if len(letters) != 1:
        rest = iter(items)
        return [_one(letter, tuple(islice(rest, many)), keys) for letter, many in zip(letters, lengths, strict=True)]
    rows: Iterable[Any]
    if count == 1:
        rows = [items]
    elif isinstance(length, int) and 0 < length <= _SHORT:
        rows = zip(*[iter(items)] * length, strict=True)
    else:
        rest = iter(items)
        rows = [tuple(islice(rest, many)) for many in lengths]
    if letters == "d":
        if level.get("pairs"):
            return [_one("d", row, keys) for row in rows]
        return [dict(zip(next(keys), row, strict=True)) for row in rows]
    return list(map(_MAKERS[letters], rows))


def _keys(level: dict[str, Any]) -> Iterable[Any]:
    table = level.get("keys", ())
    return [table[number] for number in level["of"]] if "of" in level else repeat(table[0]) if table else ()


def _one(letter: str, row: Sequence[Any], keys: Iterator[Any]) -> Any:
    if letter != "d":
        return _MAKERS[letter](row)
    names = next(keys, None)
    if names is not None:
        return dict(zip(names, row, strict=True))
    half = len(row) // 2
    return dict(zip(row[:half], row[half:], strict=True))
