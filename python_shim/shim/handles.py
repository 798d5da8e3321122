"""Objects that stayed in their worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calls import Calls


class RemoteHandle:
    """Stands in ComfyUI for an object that stayed in its worker. Nodes of that worker get the object itself."""

    __slots__ = ("__weakref__", "_calls", "_tag")

    def __init__(self, calls: Calls, tag: dict[str, Any]) -> None:
        self._calls, self._tag = calls, tag

    def __copy__(self) -> RemoteHandle:
        """There is one for each object: the end of a second one would end the object under the first."""
        return self

    def __deepcopy__(self, memo: Any) -> RemoteHandle:
        return self

    def __repr__(self) -> str:
        return f"<{self._tag['type']} in the worker {self._tag['worker']}, made by {self._tag['made_by']}>"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{name}: this {self._tag['type']} was made by {self._tag['made_by']} in the worker {self._tag['worker']} and cannot be used "
            "by a node outside it. Switch isolation on for both node packs' nodes, or off for the one that made it."
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """A function that stayed in its worker: nodes there can call it."""
        return self.__getattr__("a call")

    def __del__(self) -> None:
        self._calls.forget_handle(self._tag)


def owner_of_handle(handle: Any) -> str | None:
    """The process that has the object which this stands for; None for what is no handle."""
    if type(handle) is not RemoteHandle:
        return None
    owner: str = object.__getattribute__(handle, "_tag")["owner"]
    return owner
