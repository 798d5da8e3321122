"""Names of socket types: what a wildcard is asked about, so that its stand-in answers as it does."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from operator import is_
from typing import Any

#: The core types of ComfyUI (`comfy/comfy_types/node_typing.py`).
_CORE = (
    "STRING INT FLOAT BOOLEAN COMBO IMAGE MASK LATENT CONDITIONING MODEL CLIP VAE CONTROL_NET SAMPLER SIGMAS GUIDER NOISE "
    "CLIP_VISION CLIP_VISION_OUTPUT STYLE_MODEL GLIGEN UPSCALE_MODEL AUDIO VIDEO SVG WEBCAM POINT FACE_ANALYSIS BBOX SEGS "
    "* COMFY_MATCHTYPE_V3"
).split()
_MOST = 5000
#: The node classes that were looked at last, and their types.
_looked: tuple[list[Any], frozenset[str]] = ([], frozenset())


def names_for(value: Any) -> list[str]:
    """Every type name that a wildcard may know: core types, those of all node classes here, and what its own class speaks of."""
    own = str.__str__(value)
    found = dict.fromkeys([own, *(part.strip() for part in own.split(",")), *_CORE, *sorted(_of_classes())])
    for name in _spoken_of(value):
        if len(found) >= _MOST:
            break
        found[name] = None
    return list(found)


def _of_classes() -> frozenset[str]:
    """The output types of the node classes of this process, and of those that ComfyUI told it of."""
    global _looked
    classes = getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {})
    present = list(dict.values(classes))
    if len(present) != len(_looked[0]) or not all(map(is_, present, _looked[0])):
        told = getattr(classes, "of_host", dict)()
        types = [facts.get("RETURN_TYPES", ()) for facts in told.values()]
        for cls in present:
            with contextlib.suppress(Exception):  # a pack's own code, in a class of a newer kind
                types.append(cls.RETURN_TYPES)
        _looked = present, frozenset(name for each in types for name in _texts_in(each))
    return _looked[1]


def _spoken_of(value: Any) -> Iterator[str]:
    """The texts that a wildcard's comparisons can see: constants, names of its module, attributes of its class and its own."""
    yield from _texts_in(getattr(value, "__dict__", None))
    for base in type(value).__mro__:
        if base is str or base is object:
            continue
        for held in list(vars(base).values()):
            code = getattr(held, "__code__", None)
            if code is None:
                yield from _texts_in(held)
                continue
            yield from _texts_in(code.co_consts)
            for name in code.co_names:
                yield from _texts_in(held.__globals__.get(name))
            for cell in held.__closure__ or ():
                with contextlib.suppress(ValueError):  # it is empty
                    yield from _texts_in(cell.cell_contents)


def _texts_in(held: Any, depth: int = 3) -> Iterable[str]:
    if isinstance(held, str):
        return [part.strip() for part in str.__str__(held).split(",")] if len(held) < 1000 else []
    if depth and isinstance(held, (tuple, list, set, frozenset, dict)):
        items = [*held, *held.values()] if isinstance(held, dict) else held
        return [name for item in items for name in _texts_in(item, depth - 1)]
    return []
