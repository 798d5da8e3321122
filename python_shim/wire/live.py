"""Which inputs of a node class cannot leave ComfyUI's process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: Socket types whose values are live objects of ComfyUI's process (`comfy/comfy_types/node_typing.py`, `comfy_api/latest/_io.py`).
LIVE_TYPES = frozenset(
    "MODEL CLIP VAE CONTROL_NET SAMPLER GUIDER NOISE CLIP_VISION CLIP_VISION_OUTPUT STYLE_MODEL GLIGEN UPSCALE_MODEL "
    "LATENT_UPSCALE_MODEL BACKGROUND_REMOVAL LATENT_OPERATION PHOTOMAKER HOOKS HOOK_KEYFRAMES MODEL_PATCH AUDIO_ENCODER".split()
)
#: The newer kinds of inputs have others in their options: so deep (`DynamicCombo`, `Autogrow` and `DynamicSlot` of `_io.py`).
_DEEPEST = 12
_SECTIONS = ("required", "optional")


def live_inputs(input_types: dict[str, Any]) -> list[str]:
    """The socket types of INPUT_TYPES whose values cannot leave ComfyUI's process. An input that also takes data is none of them."""
    return sorted(set(_in_sections(input_types, 0)))


def _in_sections(inputs: dict[str, Any], depth: int) -> Iterator[str]:
    for section in _SECTIONS:
        for spec in (inputs.get(section) or {}).values():
            if isinstance(spec, (tuple, list)) and spec:
                yield from _of_type(spec[0])
                yield from _in_options(spec[1:], depth)


def _of_type(kind: Any) -> list[str]:
    names = [name.strip() for name in str.__str__(kind).split(",")] if isinstance(kind, str) else []
    return names if all(name in LIVE_TYPES for name in names) else []


def _in_options(options: Any, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        return
    if type(options) is dict:
        if any(type(options.get(section)) is dict for section in _SECTIONS):
            yield from _in_sections(options, depth + 1)
        yield from _of_type(options.get("slotType"))
        options = options.values()
    if type(options) in (list, tuple) or type(options) is type({}.values()):
        for option in options:
            if type(option) in (dict, list, tuple):
                yield from _in_options(option, depth + 1)
