"""Which inputs of a node class cannot leave ComfyUI's process."""

from __future__ import annotations

from typing import Any

#: Socket types whose values are live objects of ComfyUI's process (`comfy/comfy_types/node_typing.py`).
LIVE_TYPES = frozenset(
    "MODEL CLIP VAE CONTROL_NET SAMPLER GUIDER NOISE CLIP_VISION CLIP_VISION_OUTPUT STYLE_MODEL GLIGEN UPSCALE_MODEL "
    "HOOKS HOOK_KEYFRAMES LORA_MODEL LOSS_MAP MODEL_PATCH AUDIO_ENCODER".split()
)


def live_inputs(input_types: dict[str, Any]) -> list[str]:
    """The socket types of INPUT_TYPES whose values cannot leave ComfyUI's process."""
    found = set()
    for section in ("required", "optional"):
        for spec in (input_types.get(section) or {}).values():
            kind = spec[0] if isinstance(spec, (tuple, list)) and spec else None
            if isinstance(kind, str) and str.__str__(kind) in LIVE_TYPES:
                found.add(str.__str__(kind))
    return sorted(found)
