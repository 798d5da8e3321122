"""What a node writes into its hidden PROMPT and EXTRA_PNGINFO. Inside ComfyUI these are the prompt's own: SaveImage writes them into the
picture, and nodes put there what they show. Here they are copies, so that what was written goes back with the result."""

from __future__ import annotations

import json
from typing import Any

from . import v3

_KINDS = ("PROMPT", "EXTRA_PNGINFO")
_FIELDS = ("prompt", "extra_pnginfo")
#: By the identity of a class: the class, and the names of its inputs of these kinds.
_names: dict[int, tuple[Any, list[str]]] = {}

#: Where in the arguments, what is there, and how it looked.
Copies = list[tuple[list[Any], Any, str]]


def copies_in(cls: Any, given: dict[str, Any]) -> Copies:
    """What of the arguments is to be looked at again."""
    if v3.HIDDEN in given:
        held = given[v3.HIDDEN] or {}
        found = [([v3.HIDDEN, name], held[name]) for name in _FIELDS if name in held]
    else:
        found = [([name], given[name]) for name in _names_of(cls) if name in given]
    return [(path, value, text) for path, value in found if (text := _text(value)) is not None]


def _names_of(cls: Any) -> list[str]:
    known = _names.get(id(cls))
    if known is None or known[0] is not cls:
        try:
            hidden = cls.INPUT_TYPES().get("hidden", {})
            known = cls, [str(name) for name, kind in hidden.items() if kind in _KINDS]
        except Exception:  # noqa: BLE001 - a pack's own code
            known = cls, []
        _names[id(cls)] = known
    return known[1]


def _text(value: Any) -> str | None:
    try:
        return json.dumps(value, default=repr)
    except Exception:  # noqa: BLE001 - a circle, or what a pack has put there
        return None


def changes(copies: Copies) -> list[list[Any]]:
    """What a node has written: the way to it, and what is there now; nothing if it was taken away, and one word more where it was added to
    the end of a list: others may add to that one too."""
    found: list[list[Any]] = []
    for path, value, before in copies:
        if _text(value) != before:
            _compare(json.loads(before), value, path, found)
    return found


def _compare(old: Any, new: Any, path: list[Any], found: list[list[Any]]) -> None:
    if type(old) is dict and type(new) is dict:
        found += [[[*path, key]] for key in old if key not in new]
        for key, item in new.items():
            if key in old:
                _compare(old[key], item, [*path, key], found)
            else:
                found.append([[*path, key], item])
    elif type(old) is list and type(new) is list and len(old) <= len(new):
        for index, before in enumerate(old):
            _compare(before, new[index], [*path, index], found)
        if len(old) < len(new):
            found.append([path, new[len(old) :], "added"])
    elif type(old) is not type(new) or _text(old) != _text(new):
        found.append([path, new])
