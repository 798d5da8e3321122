"""Brings what a worker tells during a call to ComfyUI: progress, text, events for the browser; and what ComfyUI does to workers."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ..wire.frames import INTERRUPT
from . import log
from .calls import Calls


def _server() -> Any:
    module = sys.modules.get("server")
    return None if module is None else getattr(module.PromptServer, "instance", None)


def show_progress(calls: Calls, params: dict[str, Any]) -> None:
    """Move the node's progress bar."""
    try:
        preview = _opened(calls, params.get("preview"))  # also if nobody shows it: its worker gets the memory back
        node = calls.node_of(params["call"])
        utils = sys.modules.get("comfy.utils")
        if node is None or utils is None:
            return
        bar = utils.ProgressBar(int(params["total"]), node_id=node)
        bar.update_absolute(int(params["value"]), int(params["total"]), _shown(preview))
    except BaseException as error:
        if not is_interrupt(error):
            log.debug("comfyui-envmanager: progress: %s", error)
            if not isinstance(error, Exception):
                raise
        else:
            # ComfyUI's hook has taken the user's Cancel back as it raised (`main.py`), and whoever is to hear of it has not
            sys.modules["comfy.model_management"].interrupt_current_processing(True)


def tell_waiting(packs: list[str], browser: str | None) -> None:
    """Tell the browser that a prompt of its waits for these packs, or with none that it waits no longer."""
    server = _server()
    if server is not None and browser is not None:
        server.send_sync("envmanager.waiting", {"packs": packs}, browser)


def is_interrupt(error: Any) -> bool:
    """Whether it is ComfyUI's, which is no `Exception` on newer versions."""
    kind = getattr(sys.modules.get("comfy.model_management"), "InterruptProcessingException", None)
    return kind is not None and isinstance(error, kind)


#: Modes of pictures that ComfyUI can send in each format: what cannot be saved ends the thread that sends everything (`server.py`).
_SAVED = {"JPEG": ("1", "L", "RGB", "CMYK", "YCbCr"), "PNG": ("1", "L", "LA", "P", "RGB", "RGBA")}


#: JPEG's own limit, and the largest side that a preview is made larger to.
_LONGEST_SIDE, _LARGEST = 65_500, 8192


def _shown(preview: Any) -> tuple[Any, ...] | None:
    """A preview as ComfyUI's progress hook takes it: format, PIL image, largest side. None for one that it could not send."""
    if not isinstance(preview, (tuple, list)) or len(preview) != 3:
        return None
    kind, image, largest = preview
    if getattr(image, "mode", None) not in _SAVED.get(str(kind), ()) or min(image.size) < 1 or max(image.size) > _LONGEST_SIDE:
        return None
    if largest is None:
        return str(kind), image, None
    if not isinstance(largest, int) or largest < 1:
        return None
    largest = min(largest, _LARGEST)
    # `ImageOps.contain` makes a side of it that is nothing
    return (str(kind), image, largest) if round(min(image.size) / max(image.size) * largest) >= 1 else None


def _opened(calls: Calls, value: Any, packed: bool = False) -> Any:
    """A value that came with a note. Its worker gets the memory back, also if it cannot be read. `packed`: the value is text of JSON."""
    try:
        opened = calls.decode(value)
    except Exception:
        calls.mapped.copied(list(dict.fromkeys(_leases(value))))
        raise
    return _opened(calls, json.loads(opened)) if packed else opened


def _leases(value: Any) -> Iterator[str]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        yield from _leases(item)
    if isinstance(value, dict) and isinstance(value.get("lease"), str):
        yield value["lease"]


def pass_event(calls: Calls, params: dict[str, Any]) -> None:
    """Send on what a pack sent with PromptServer.send_sync or send_progress_text. What goes wrong with one ends nothing else."""
    try:
        _pass_event(calls, params)
    except Exception as error:  # noqa: BLE001
        log.warning("comfyui-envmanager: the event %s of an isolated node was not sent: %s", params["event"], error)


def _pass_event(calls: Calls, params: dict[str, Any]) -> None:
    data = _opened(calls, params["data"], params.get("packed", False))
    server = _server()
    if server is None:
        return
    if params["event"] == INTERRUPT:
        sys.modules["comfy.model_management"].interrupt_current_processing(True)
        return
    node = calls.node_of(params["call"])
    if not params["text"]:
        server.send_sync(params["event"], data, params["sid"] or getattr(server, "client_id", None))
    elif node is not None and hasattr(server, "send_progress_text"):
        server.send_progress_text(data, node)


def unload_too(management: Any, tell: Callable[[], None]) -> None:
    """When ComfyUI unloads all models (its Unload button, a prompt that ran out of memory), `tell`: workers hold memory of the GPU too."""
    original = management.unload_all_models

    @functools.wraps(original)
    def unload_all_models(*args: Any, **kwargs: Any) -> Any:
        tell()
        return original(*args, **kwargs)

    management.unload_all_models = unload_all_models
