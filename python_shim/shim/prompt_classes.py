"""The node classes of a prompt that ComfyUI is about to run."""

from __future__ import annotations

from typing import Any

from .node_owners import mappings


def class_types(prompt: Any) -> dict[str, str]:
    """The class name of each node of a prompt."""
    nodes = prompt.items() if isinstance(prompt, dict) else ()
    named = ((str(node), body.get("class_type")) for node, body in nodes if isinstance(body, dict))
    return {node: name for node, name in named if isinstance(name, str)}


def stand_for_absent(prompt: Any) -> list[str]:
    """Node classes that have gone since the prompt was queued: ComfyUI's executor looks them up where an error would end its thread.
    In their place stand classes that say so; their names, to be taken away afterwards."""
    classes = mappings()
    absent = [name for name in set(class_types(prompt).values()) if name not in classes]
    for name in absent:
        classes[name] = _absent(name)
    return absent


def _absent(name: str) -> type:
    def run(self: Any, **inputs: Any) -> Any:
        raise RuntimeError(f"There is no node class {name} any more: its node pack was switched or removed after this prompt was queued.")

    return type(name, (), {"INPUT_TYPES": classmethod(lambda cls: {}), "RETURN_TYPES": (), "FUNCTION": "run", "CATEGORY": "", "run": run})
