"""What is known of workers' processes, by the names that never repeat."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from . import log


class Owners:
    """Processes whose objects or memory ComfyUI has, or whose ends it has heard of.

    `is_gone` is true of those that have ended, by the kernel's word, and of the workers of a bridge that has ended: nobody can
    reach what these have any more, but nobody has said either that they do not read any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._gone: set[str] = set()
        #: Each is told of an owner once, on any thread.
        self.on_gone: list[Callable[[str], None]] = []
        #: Which bridge it is, counted: what was sent to one before it is lost with that one.
        self.bridge = 0

    def seen(self, owner: str) -> None:
        """That process is of the bridge that runs now."""
        if owner not in self._seen:
            with self._lock:
                self._seen.add(owner)

    def is_gone(self, owner: str) -> bool:
        """Whether nothing of that process can be had any more."""
        return owner in self._gone

    def end(self, owners: Iterable[str]) -> list[str]:
        """They are gone; those that were not yet."""
        with self._lock:
            new = [owner for owner in owners if owner not in self._gone]
            self._gone.update(new)
            self._seen.difference_update(new)
        for owner in new:
            for tell in list(self.on_gone):
                try:
                    tell(owner)
                except Exception:
                    log.exception("comfyui-envmanager: the end of a worker was not heard")
        return new

    def not_among(self, alive: Iterable[str]) -> list[str]:
        """Those that this bridge does not have any more."""
        with self._lock:
            return list(self._seen.difference(alive))

    def bridge_gone(self) -> None:
        """Its workers end with it."""
        with self._lock:
            self.bridge += 1
            seen = list(self._seen)
        self.end(seen)
