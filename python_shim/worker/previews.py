"""Previews on their way to ComfyUI, which may not look for minutes while a node of its own runs: a few of each call; the newest waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .running import Running

#: So many of a call are on their way at once. They are told to be looked at ten times a second (`TIDY` in `shim/calls.py`).
MOST = 4


class Previews:
    """Safe for threads. `drop` releases the leases of what is not shown."""

    def __init__(self, drop: Callable[[list[str]], None]) -> None:
        self._drop = drop
        self._lock = threading.RLock()  # what a link does not send comes back as released
        self._out: dict[str, Running] = {}

    def show(self, running: Running, note: dict[str, Any], leases: list[str]) -> None:
        """Send it, or keep it in place of the one that waits."""
        with self._lock:
            waiting, running.preview = running.preview, None
            if waiting is not None:
                self._drop(waiting[1])
            if sum(call is running for call in self._out.values()) < MOST:
                self._go(running, note, leases)
            else:
                running.preview = (note, leases)

    def released(self, leases: list[str]) -> None:
        """Any thread: these were looked at, or will not be. Then the one that waits goes."""
        for lease in leases:
            with self._lock:
                running = self._out.pop(lease, None)
                if running is not None and running.preview is not None:
                    (note, its), running.preview = running.preview, None
                    self._go(running, note, its)

    def ended(self, running: Running) -> None:
        """Its answer is about to go: nothing of it is sent after that."""
        if running.preview is None and not self._out:
            return
        with self._lock:
            waiting, running.preview = running.preview, None
        if waiting is not None:
            self._drop(waiting[1])

    def _go(self, running: Running, note: dict[str, Any], leases: list[str]) -> None:
        self._out.update(dict.fromkeys(leases, running))
        running.note(note, leases)
