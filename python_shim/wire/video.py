"""ComfyUI's VIDEO values (`comfy_api/latest/_input_impl/video_types.py`): a file, or pictures with sound.

All that such an object holds crosses: bit depth, alpha and metadata too, and what later versions add.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Iterator
from typing import Any

_TYPES, _COMPONENTS = "comfy_api.latest._input_impl.video_types", "comfy_api.latest._util.video_types"
CLASSES = ("VideoFromFile", "VideoFromComponents")


def is_video(kind: type) -> bool:
    """Whether a class is one of ComfyUI's own two."""
    module = sys.modules.get(_TYPES)
    return kind.__name__ in CLASSES and getattr(module, kind.__name__, None) is kind


def parts(value: Any) -> dict[str, Any] | None:
    """What a VIDEO is made of; None if it holds more than its class gives it."""
    kind = type(value).__name__
    prefix, state = f"_{kind}__", dict(vars(value))
    if any(not name.startswith(prefix) for name in state):
        return None
    plain = {name.removeprefix(prefix): held for name, held in state.items()}
    if "components" in plain:
        made = plain["components"]
        if type(made) is not getattr(sys.modules.get(_COMPONENTS), "VideoComponents", None):
            return None
        plain["components"] = dict(vars(made))
    if type(plain.get("file")) is io.BytesIO:
        plain["file"] = plain["file"].getvalue()
    return {"class": kind, "state": plain}


def held(value: Any) -> Iterator[Any]:
    """What a VIDEO and its components hold."""
    for part in vars(value).values():
        if type(part) is getattr(sys.modules.get(_COMPONENTS), "VideoComponents", None):
            yield from vars(part).values()
        elif type(part) is not io.BytesIO:
            yield part


def make(given: dict[str, Any]) -> Any:
    """The VIDEO that these are the parts of. Raises ImportError where there is no ComfyUI with videos."""
    if given["class"] not in CLASSES:
        raise ImportError(f"no VIDEO is a {given['class']}")
    cls = getattr(importlib.import_module(_TYPES), given["class"])
    state = dict(given["state"])
    if isinstance(state.get("file"), bytes):
        state["file"] = io.BytesIO(state["file"])
    if "components" in state:
        components = importlib.import_module(_COMPONENTS).VideoComponents
        made = components.__new__(components)
        vars(made).update(state["components"])
        state["components"] = made
    video = cls.__new__(cls)
    vars(video).update({f"_{given['class']}__{name}": held for name, held in state.items()})
    return video
