"""What ComfyUI's `main.py` has made of its command line and of the machine. Workers never run it, and must not guess."""

from __future__ import annotations

import os
import sys
from typing import Any

#: The variables that it sets before it imports torch: which GPUs there are, how their memory is taken, and what it asks of packs.
VARIABLES = (
    "ASCEND_RT_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "DO_NOT_TRACK",
    "HF_HUB_DISABLE_TELEMETRY",
    "HIP_VISIBLE_DEVICES",
    "MIMALLOC_PURGE_DELAY",
    "OCL_SET_SVM_SIZE",
    "ONEAPI_DEVICE_SELECTOR",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL",
)
_environment: dict[str, str] | None = None


def keep_environment() -> None:
    """ComfyUI has set them and has imported torch, and no pack has been loaded: what packs set from now on it does not see either."""
    global _environment
    if _environment is None:
        _environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}


def started() -> dict[str, Any] | None:
    """The `HostStart` of the schemas; None before `main.py` has come to its web server, which is the last of what is asked here."""
    server = sys.modules.get("server")
    if _environment is None or getattr(getattr(server, "PromptServer", None), "instance", None) is None:
        return None
    return {"environment": _environment, "dynamic_vram": has_dynamic_vram()}


def has_dynamic_vram() -> bool:
    """Whether it has switched dynamic VRAM on: asked of its module, which older versions do not have."""
    return getattr(sys.modules.get("comfy.memory_management"), "aimdo_enabled", False) is True


def preview_method() -> str | None:
    """How samplers show their latents in the prompt that runs (`latent_preview.py`): the executor sets it anew for each, from what its
    client has chosen."""
    chosen = getattr(getattr(sys.modules.get("comfy.cli_args"), "args", None), "preview_method", None)
    word = getattr(chosen, "value", None)
    return word if isinstance(word, str) else None
