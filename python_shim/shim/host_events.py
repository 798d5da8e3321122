"""Brings what a worker tells during a call to ComfyUI: progress, text, events for the browser; and what ComfyUI does to workers."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from ..wire.frames import INTERRUPT
from . import log
from .calls import Calls


def _server() -> Any:
    module = sys.modules.get("server")
    return None if module is None else getattr(module.PromptServer, "instance", None)


def show_progress(calls: Calls, params: dict[str, Any]) -> None:
    """Move the node's progress bar. ComfyUI's hook raises when the prompt was interrupted: the call sees that by itself."""
    node = calls.node_of(params["call"])
    utils = sys.modules.get("comfy.utils")
    if node is None or utils is None:
        return
    try:
        bar = utils.ProgressBar(int(params["total"]), node_id=node)
        bar.update_absolute(int(params["value"]), int(params["total"]), _preview(calls, params.get("preview")))
    except Exception as error:  # noqa: BLE001 - InterruptProcessingException and the like are the call's business
        log.debug("comfyui-envmanager: progress: %s", error)


def _preview(calls: Calls, encoded: Any) -> Any:
    """The preview image as ComfyUI's progress hook takes it: format, PIL image, largest side."""
    if encoded is None:
        return None
    kind, image, largest = calls.decode(encoded)
    return kind, image, largest


def pass_event(calls: Calls, params: dict[str, Any]) -> None:
    """Send on what a pack sent with PromptServer.send_sync or send_progress_text."""
    server = _server()
    if server is None:
        return
    if params["event"] == INTERRUPT:
        sys.modules["comfy.model_management"].interrupt_current_processing(True)
        return
    data = calls.decode(params["data"])
    node = calls.node_of(params["call"])
    if not params["text"]:
        server.send_sync(params["event"], data, params["sid"] or getattr(server, "client_id", None))
    elif node is not None and hasattr(server, "send_progress_text"):
        server.send_progress_text(data, node)


def unload_too(management: Any, tell: Callable[[], None]) -> None:
    """When ComfyUI unloads all models (its Unload button, a prompt that ran out of memory), `tell`: workers hold memory of the GPU too."""
    original = getattr(management, "unload_all_models", None)
    if original is None:
        return

    @functools.wraps(original)
    def unload_all_models(*args: Any, **kwargs: Any) -> Any:
        tell()
        return original(*args, **kwargs)

    management.unload_all_models = unload_all_models
