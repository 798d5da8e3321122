"""Types of `INPUT_TYPES` and `RETURN_TYPES` that are more than they look.

Packs use three tricks under many class names: a `str` that is never unequal to another type, a dict
that contains every key, a tuple that has every index. They are found by probing, never by class name, sent as what they do,
and rebuilt on the other side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .type_names import names_for

_ABSENT = "__envmanager_probe__"


def probe(value: Any) -> dict[str, Any] | None:
    """What is special about `value`; None for ordinary objects."""
    kind = type(value)
    if isinstance(value, str) and kind is not str:
        return _probe_str(value)
    if kind is not dict and _is_mapping(value):
        return _probe_mapping(value)
    if isinstance(value, tuple) and kind is not tuple:
        try:
            return {"kind": "tuple", "missing": value[len(value) + 999]}
        except IndexError:
            return None
    return None


def _probe_str(value: Any) -> dict[str, Any] | None:
    """Most packs' wildcards answer `!=` only. ComfyUI asks `==` about a constant's type, and converts it (`validate_inputs`). A type may
    also be a list of choices."""
    names = names_for(value)
    questions = (lambda other: not (value != other)), (lambda other: value == other)
    (unlike, unlike_but), (equal, equal_but) = (
        _answers(names, ask, every) for ask, every in zip(questions, ("never", "always"), strict=True)
    )
    own, others = str.__str__(value), [_asked(ask, [_ABSENT]) for ask in questions]
    if (unlike, equal, others) == ([own], [own], [False, False]):
        return None
    return {"kind": "str", "ne": unlike, "eq": equal, "but": [unlike_but, equal_but], "others": others}


def _answers(names: list[str], ask: Callable[[Any], Any], every: str) -> tuple[Any, list[str]]:
    """The names that it says yes to; if it does so to any that nobody knows, all, and the names that it says no to."""
    if _asked(ask, _ABSENT):
        return every, [name for name in names if not _asked(ask, name)]
    return [name for name in names if _asked(ask, name)], []


def _asked(ask: Callable[[Any], Any], other: Any) -> bool:
    try:
        return bool(ask(other))
    except Exception:  # noqa: BLE001 - a comparison that fails for what it was not made for
        return False


def _probe_mapping(value: Any) -> dict[str, Any] | None:
    try:
        if _ABSENT not in value:
            return None
    except Exception:  # noqa: BLE001 - no mapping after all
        return None
    try:
        return {"kind": "dict", "missing": value[_ABSENT]}
    except KeyError:
        return {"kind": "dict", "missing": None}


def _is_mapping(value: Any) -> bool:
    """A dict, or an object of a pack's own class that passes for one."""
    if isinstance(value, (str, tuple, list, set, frozenset, type)):
        return False
    return isinstance(value, dict) or (hasattr(type(value), "__contains__") and hasattr(type(value), "__getitem__"))


class AnyString(str):
    """Not unequal to those of `alike`, and equal to those of `equal`; None: to all, but for `but`. Packs' own classes answer the two apart.
    `others`: what each says to what is no text."""

    alike: frozenset[str] | None = None
    equal: frozenset[str] | None = frozenset()
    but: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    others: tuple[bool, bool] = (False, False)

    def __eq__(self, other: object) -> bool:
        return self._says(other, self.equal, 1)

    def __ne__(self, other: object) -> bool:
        return not self._says(other, self.alike, 0)

    def _says(self, other: object, names: frozenset[str] | None, question: int) -> bool:
        if not isinstance(other, str):
            return self.others[question]
        name = str.__str__(other)
        return name not in self.but[question] if names is None else name in names

    __hash__ = str.__hash__


class AnyKeyDict(dict):
    """Contains every key; an absent one has the value `missing`."""

    missing: Any = None

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: object) -> Any:
        return self.missing


class AnyIndexTuple(tuple):
    """Has every index; one past the end is `missing`."""

    missing: Any = None

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and index >= len(self):
            return self.missing
        return tuple.__getitem__(self, index)


def rebuild(tag: dict[str, Any], plain: Any, missing: Any) -> Any:
    """The stand-in for a probed object: `plain` is its ordinary content."""
    if tag["kind"] == "str":
        text = AnyString(plain)
        text.alike, text.equal = (None if isinstance(tag[name], str) else frozenset(tag[name]) for name in ("ne", "eq"))
        if "but" in tag:
            text.but, text.others = (frozenset(tag["but"][0]), frozenset(tag["but"][1])), tuple(tag["others"])
        return text
    stand_in = AnyKeyDict(plain) if tag["kind"] == "dict" else AnyIndexTuple(plain)
    stand_in.missing = missing
    return stand_in
