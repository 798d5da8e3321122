"""What packs do in a worker beside its calls: HTTP requests, and threads that they have started. A worker that does is not idle."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import thread as pool_threads
from typing import Any


class BesideWork:
    """Keeps account of it. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._last: float | None = None

    def begin(self) -> None:
        """A request has come."""
        with self._lock:
            self._open += 1

    def end(self) -> None:
        """It is answered."""
        with self._lock:
            self._open -= 1
            self._last = time.monotonic()

    def ago_ms(self) -> float | None:
        """Milliseconds since the last of it, 0 while it goes on; None if there was none."""
        with self._lock:
            if self._open or any(_is_at_work(thread) for thread in threading.enumerate()):
                self._last = time.monotonic()
            return None if self._last is None else (time.monotonic() - self._last) * 1000


def _is_at_work(thread: threading.Thread) -> bool:
    """Whether a thread is a pack's and not one that only waits for the next thing to do."""
    if thread is threading.main_thread() or thread.name.startswith("envmanager-"):
        return False
    if type(thread).__module__.split(".")[0] == "tqdm":  # watches progress bars, for ever
        return False
    frame: Any = sys._current_frames().get(thread.ident or 0)
    return not _waits_in_pool(frame)


def _waits_in_pool(frame: Any) -> bool:
    """Whether a thread is one of a pool (`concurrent.futures`) between two tasks: a task would be a frame of its own."""
    return frame is not None and frame.f_code is pool_threads._worker.__code__
