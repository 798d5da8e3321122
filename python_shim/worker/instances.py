"""The node objects of this worker: one for each that ComfyUI has, so that `self` keeps its state."""

from __future__ import annotations

from typing import Any


class Instances:
    """On the main thread: what ends here, ends where ComfyUI would end it."""

    def __init__(self) -> None:
        self._made: dict[Any, Any] = {}

    def of(self, cls: Any, call: dict[str, Any]) -> Any:
        """By the name that ComfyUI's part gives the object there; without one by node and class."""
        key = call.get("instance") or (call["pack"], call["class"], call["node"])
        if key not in self._made:
            self._made[key] = cls()
        return self._made[key]

    def release(self, names: list[str]) -> None:
        """ComfyUI has let go of these. A call that still runs on one keeps it until its end."""
        for name in names:
            self._made.pop(name, None)
