"""Types of `INPUT_TYPES` and `RETURN_TYPES` that are more than they look.

Packs use three tricks under many class names: a `str` that is never unequal to another type, a dict
that contains every key, a tuple that has every index. They are found by probing, never by class name, sent as what they do,
and rebuilt on the other side.
"""

from __future__ import annotations

from typing import Any

_ABSENT = "__envmanager_probe__"
#: Socket types that a restricted wildcard is asked about: the core types of ComfyUI (`comfy/comfy_types/node_typing.py`).
_TYPES = (
    "STRING INT FLOAT BOOLEAN COMBO IMAGE MASK LATENT CONDITIONING MODEL CLIP VAE CONTROL_NET SAMPLER SIGMAS GUIDER NOISE "
    "CLIP_VISION CLIP_VISION_OUTPUT STYLE_MODEL GLIGEN UPSCALE_MODEL AUDIO VIDEO SVG WEBCAM POINT FACE_ANALYSIS BBOX SEGS"
).split()


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
    """Most packs' wildcards answer `!=` only. ComfyUI asks `==` about a constant's type, and converts it (`validate_inputs`)."""
    own = str.__str__(value)
    names = dict.fromkeys([own, *_TYPES])
    unlike = "never" if not (value != _ABSENT) else [name for name in names if not (value != name)]
    equal = "always" if value == _ABSENT else [name for name in names if value == name]
    return {"kind": "str", "ne": unlike, "eq": equal} if (unlike, equal) != ([own], [own]) else None


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
    """Not unequal to those of `alike`, and equal to those of `equal`; None: to all. Packs' own classes answer the two apart."""

    alike: frozenset[str] | None = None
    equal: frozenset[str] | None = frozenset()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and (self.equal is None or str(other) in self.equal)

    def __ne__(self, other: object) -> bool:
        return not (isinstance(other, str) and (self.alike is None or str(other) in self.alike))

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
        text.alike = None if tag["ne"] == "never" else frozenset(tag["ne"])
        text.equal = None if tag["eq"] == "always" else frozenset(tag["eq"])
        return text
    stand_in = AnyKeyDict(plain) if tag["kind"] == "dict" else AnyIndexTuple(plain)
    stand_in.missing = missing
    return stand_in
