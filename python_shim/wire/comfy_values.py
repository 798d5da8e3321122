"""ComfyUI's own classes that cross as what they hold, known by the class itself where its module is loaded."""

from __future__ import annotations

import importlib
import sys
from typing import Any

#: The fields of ComfyUI's DynamicPrompt (`comfy_execution/graph.py`).
DYNAMIC_PROMPT = ("original_prompt", "ephemeral_prompt", "ephemeral_parents", "ephemeral_display")
NODE_OUTPUT = ("args", "ui", "expand", "block_execution")


class ExecutionBlocker:
    """Stand-in where ComfyUI's own class is not importable (`comfy_execution/graph_utils.py`)."""

    def __init__(self, message: str | None) -> None:
        self.message = message


def blocker_class() -> Any:
    """ComfyUI's ExecutionBlocker where it is loaded."""
    return _loaded("comfy_execution.graph_utils", "ExecutionBlocker") or ExecutionBlocker


def make_blocker(message: str | None) -> Any:
    """ComfyUI's ExecutionBlocker where there is one."""
    try:
        from comfy_execution.graph_utils import ExecutionBlocker as real
    except ImportError:
        return ExecutionBlocker(message)
    return real(message)


def _loaded(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, None)


def newer_api(name: str) -> Any:
    """A name of ComfyUI's V3 API, where it is loaded."""
    return _loaded("comfy_api.latest._io", name) or _loaded("comfy_api.latest.io", name)


def is_blocker(kind: type) -> bool:
    """Whether a class is ExecutionBlocker."""
    return kind is ExecutionBlocker or (
        kind.__name__ == "ExecutionBlocker" and kind is _loaded("comfy_execution.graph_utils", "ExecutionBlocker")
    )


def is_dynamic_prompt(kind: type) -> bool:
    """Whether a class is DynamicPrompt."""
    return kind.__name__ == "DynamicPrompt" and kind is _loaded("comfy_execution.graph", "DynamicPrompt")


def is_node_output(kind: type) -> bool:
    """Whether a class is the NodeOutput of V3 nodes."""
    return kind.__name__ == "NodeOutput" and kind is newer_api("NodeOutput")


def held(value: Any, names: tuple[str, ...]) -> list[Any] | None:
    """These attributes, if the object has no others."""
    own = vars(value)
    return [own[name] for name in names] if own.keys() == set(names) else None


def make_dynamic_prompt(original: Any, *rest: Any) -> Any:
    """The graph, as it was over there."""
    made = importlib.import_module("comfy_execution.graph").DynamicPrompt(original)
    for name, part in zip(DYNAMIC_PROMPT[1:], rest, strict=True):
        setattr(made, name, part)
    return made


def make_node_output(args: Any, ui: Any, expand: Any, blocked: Any) -> Any:
    """What a V3 node returned."""
    kind = newer_api("NodeOutput")
    if kind is None:  # an executor without V3 nodes
        return {"result": args, "ui": ui or {}, **({"expand": expand} if expand is not None else {})}
    return kind(*args, ui=ui, expand=expand, block_execution=blocked)


def for_browser(value: Any, depth: int = 0) -> Any:
    """What goes to the browser as JSON has it: a subclass of text, numbers or containers is shown as those, and nothing else is changed."""
    if depth > 100:
        return value
    if isinstance(value, dict):
        return {for_browser(key, depth + 1): for_browser(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        made = [for_browser(item, depth + 1) for item in value]
        return tuple(made) if isinstance(value, tuple) else made
    for plain in (str, int, float):
        if isinstance(value, plain) and type(value) not in (plain, bool):
            return {str: str.__str__, int: int.__int__, float: float.__float__}[plain](value)
    return value
