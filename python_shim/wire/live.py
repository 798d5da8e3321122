"""Which inputs of a node class cannot leave ComfyUI's process."""

from __future__ import annotations

from typing import Any

#: Socket types whose values are live objects of ComfyUI's process (`comfy/comfy_types/node_typing.py`, `comfy_api/latest/_io.py`).
LIVE_TYPES = frozenset(
    "MODEL CLIP VAE CONTROL_NET SAMPLER GUIDER NOISE CLIP_VISION CLIP_VISION_OUTPUT STYLE_MODEL GLIGEN UPSCALE_MODEL "
    "LATENT_UPSCALE_MODEL BACKGROUND_REMOVAL LATENT_OPERATION PHOTOMAKER HOOKS HOOK_KEYFRAMES MODEL_PATCH AUDIO_ENCODER".split()
)


def live_inputs(input_types: Any) -> list[str]:
    """The socket types of INPUT_TYPES whose values cannot leave ComfyUI's process. An input that also takes data is none of them.

    The newer kinds of inputs have others in their options (`DynamicCombo`, `Autogrow` and `DynamicSlot` of `_io.py`), at any depth.
    """
    found: set[str] = set()
    waiting, seen = [input_types], {}
    while waiting:
        held = waiting.pop()
        if id(held) in seen or not isinstance(held, (dict, list, tuple)):
            continue
        seen[id(held)] = held
        if isinstance(held, dict):
            found.update(_of_inputs(held))
            waiting += dict.values(held)
        else:
            waiting += held
    return sorted(found)


def _of_inputs(held: dict[str, Any]) -> list[str]:
    """What the inputs in a dict are of, if it has any: sections of them, or one slot."""
    sections = [dict.get(held, name) for name in ("required", "optional")]
    specs = [spec for section in sections if isinstance(section, dict) for spec in dict.values(section)]
    kinds = [spec[0] for spec in specs if isinstance(spec, (tuple, list)) and spec]
    return [name for kind in (*kinds, dict.get(held, "slotType")) for name in _of_type(kind)]


def _of_type(kind: Any) -> list[str]:
    names = [name.strip() for name in str.__str__(kind).split(",")] if isinstance(kind, str) else []
    return names if all(name in LIVE_TYPES for name in names) else []
