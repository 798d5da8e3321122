"""Objects that stay in this process: others have handles of them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

from ..wire.errors import CodedError
from ..wire.place import kind_name
from ..wire.segments import OWNER


class KeptObjects:
    """By the name of each, which no other process has. `tell` hears how many there are, whenever that has changed: a worker that has any is
    not idle."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        #: The name of this worker, as people see it: the same after a restart.
        self.worker = ""
        self._objects: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._tell, self._told, self._lock = tell, 0, threading.Lock()

    def keep(self, node: str, value: Any, path: str) -> dict[str, Any]:
        """The handle of an object."""
        name = f"{OWNER}-h{next(self._numbers)}"
        self._objects[name] = value
        self._count()
        kind = kind_name(value)
        return {"$": "handle", "id": name, "owner": OWNER, "worker": self.worker, "type": kind, "made_by": node}

    def find(self, node: str, tag: dict[str, Any]) -> Any:
        """The object of a handle that `node` was given. No other process has an object of that name."""
        if tag.get("owner") == OWNER and tag["id"] in self._objects:
            return self._objects[tag["id"]]
        if tag["worker"] == self.worker:
            what = f"A {tag['type']} that {tag['made_by']} made is gone: its worker was restarted."
            raise CodedError("HANDLE_GONE", what, "Run again: the node that made it runs once more.", owners=[tag["owner"]])
        what = f"{node} was given a {tag['type']} that {tag['made_by']} made in the worker {tag['worker']}. It cannot leave it."
        hint = "Run both nodes in the same place: switch isolation of both node packs off, or let them share a worker."
        raise CodedError("HANDLE_FOREIGN", what, hint)

    def drop(self, names: list[str]) -> None:
        """Nobody has these handles any more."""
        for name in names:
            self._objects.pop(name, None)
        self._count()

    def _count(self) -> None:
        with self._lock:  # two threads must not tell their counts in the wrong order
            count = len(self._objects)
            if count != self._told:
                self._told = count
                self._tell(count)
