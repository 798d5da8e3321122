"""ComfyUI's VIDEO values (`comfy_api/latest/_input_impl/video_types.py`): a file, or pictures with sound."""

from __future__ import annotations

import importlib
import io
from typing import Any

#: What newer versions of VideoFromFile take beside the file: a part of it.
_CUT = ("start_time", "duration")


def parts(value: Any) -> dict[str, Any] | None:
    """What a VIDEO is made of; None if the value is none, or a kind of one that is not ComfyUI's own."""
    kind = type(value)
    if not kind.__module__.startswith("comfy_api."):
        return None
    if kind.__name__ == "VideoFromFile":
        inner = {name: vars(value).get(f"_VideoFromFile__{name}") for name in ("file", *_CUT)}
        file = inner.pop("file")
        if isinstance(file, (str, io.BytesIO)):
            return {"file": file.getvalue() if isinstance(file, io.BytesIO) else file, **{k: v for k, v in inner.items() if v}}
    if kind.__name__ == "VideoFromComponents":
        made = value.get_components()
        return {"images": made.images, "audio": made.audio, "frame_rate": str(made.frame_rate), "metadata": made.metadata}
    return None


def make(given: dict[str, Any]) -> Any:
    """The VIDEO that these are the parts of. Raises ImportError where there is no ComfyUI with videos."""
    api = importlib.import_module("comfy_api.latest")
    if "file" in given:
        file = given["file"]
        cut = {name: given[name] for name in _CUT if name in given}
        return api.InputImpl.VideoFromFile(io.BytesIO(file) if isinstance(file, bytes) else file, **cut)
    fractions = importlib.import_module("fractions")
    rest = {**given, "frame_rate": fractions.Fraction(given["frame_rate"])}
    return api.InputImpl.VideoFromComponents(api.Types.VideoComponents(**rest))
