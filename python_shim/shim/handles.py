"""Objects that stayed in their worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calls import Calls


#: The name of an object: its process and its name there. Neither is ever used again.
Object = tuple[str, str]


class RemoteHandle:
    """Stands in ComfyUI for an object that stayed in its worker. Nodes of that worker get the object itself."""

    __slots__ = ("__weakref__", "_calls", "_key", "_tag")

    def __init__(self, calls: Calls, tag: dict[str, Any]) -> None:
        self._calls, self._tag = calls, tag
        #: Under which key ComfyUI keeps what its maker has made.
        self._key: Any = None

    def __copy__(self) -> RemoteHandle:
        """There is one for each object: the end of a second one would end the object under the first."""
        return self

    def __deepcopy__(self, memo: Any) -> RemoteHandle:
        return self

    def __repr__(self) -> str:
        return f"<{self._tag['type']} in the worker {self._tag['worker']}, made by {self._tag['made_by']}>"

    def __getattr__(self, name: str) -> Any:
        tag = self._tag
        what = f"{name}: this {tag['type'].rpartition('.')[2]} was made by {tag['made_by']} in the worker {tag['worker']}"
        if self._calls.is_gone(tag["owner"]):
            raise AttributeError(f"{what} and is gone with that worker. Run that node again: change an input of it.")
        raise AttributeError(
            f"{what} and cannot be used by a node outside it. "
            "Switch isolation on for both node packs' nodes, or off for the one that made it."
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """A function that stayed in its worker: nodes there can call it."""
        return self.__getattr__("a call")

    def __del__(self) -> None:
        self._calls.forget_handle(self._tag)


def tag_of_handle(handle: RemoteHandle) -> dict[str, Any]:
    """What its worker has said of the object."""
    tag: dict[str, Any] = object.__getattribute__(handle, "_tag")
    return tag


def object_of_handle(handle: RemoteHandle) -> Object:
    """The object that this stands for."""
    tag = tag_of_handle(handle)
    return tag["owner"], tag["id"]


def owner_of_handle(handle: Any) -> str | None:
    """The process that has the object which this stands for; None for what is no handle."""
    if type(handle) is not RemoteHandle:
        return None
    owner: str = tag_of_handle(handle)["owner"]
    return owner


def key_of_handle(handle: RemoteHandle) -> Any:
    """The key of its maker's outputs in ComfyUI's cache; None where that is not known."""
    return object.__getattribute__(handle, "_key")


def made_under(handle: RemoteHandle, key: Any) -> None:
    """Its maker's outputs have this key. Who hands it on later has not made it."""
    if key_of_handle(handle) is None:
        handle._key = key
