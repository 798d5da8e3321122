"""Where in a message a value stands. Written out only when an error or a handle wants to name it."""

from __future__ import annotations

from typing import Any

#: The place around it, how its name is made of that one's, the key, and how deep it is.
Place = tuple[Any, str, Any, int]
ITEM, KEY_ITSELF, PART = "item", "key", "part"
#: The place around it is a level of a tree, which is asked where its item of that number stands (`tree.py`).
IN_LEVEL = "in level"


def root(name: str) -> Place:
    """The whole message."""
    return (None, name, None, 0)


def below(place: Place, form: str, key: Any) -> Place:
    """A part of what stands at `place`."""
    return (place, form, key, place[3] + 1)


def name_of(place: Place) -> str:
    """The place in words: `the result of X[0]['image']`."""
    around, form, key, _ = place
    if around is None:
        return form
    if form == IN_LEVEL:
        return name_of(around.place_of(key))
    inner = name_of(around)
    if form == KEY_ITSELF:
        return f"a key of {inner}"
    return f"{inner}.{key}" if form == PART else f"{inner}[{_shown(key)}]"


def _shown(key: Any) -> str:
    try:
        return f"{key!r:.80}"
    except Exception:  # noqa: BLE001 - a repr of a pack's own
        return f"a {kind_name(key)}"


def kind_name(value: Any) -> str:
    """Module and name of a value's class, whatever its metaclass makes of them."""
    kind = type(value)
    try:
        return f"{kind.__module__}.{kind.__qualname__}"
    except Exception:  # noqa: BLE001 - a metaclass of a pack's own
        return str(type.__dict__["__name__"].__get__(kind))
