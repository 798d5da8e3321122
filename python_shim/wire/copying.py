"""Copies bytes between memory of this process, as fast as the machine can.

`memmove` in several threads: ctypes lets go of Python's lock meanwhile. From a certain size on glibc writes past the caches, which
halves the time where memory is the limit; the bridge makes that size small for workers (GLIBC_TUNABLES).
"""

from __future__ import annotations

import ctypes
import os
import threading
from concurrent.futures import ThreadPoolExecutor

#: Below this size waking a second thread takes longer than what it saves.
ALONE_BYTES = 4 << 20
_THREADS = min(4, os.cpu_count() or 1)
_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def _helpers() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(_THREADS - 1, "envmanager-copy")
        return _pool


def copy_bytes(target: int, source: int, nbytes: int) -> None:
    """Copy `nbytes` from address to address; the ranges do not overlap."""
    if nbytes < ALONE_BYTES or _THREADS == 1:
        ctypes.memmove(target, source, nbytes)
        return
    part = -(-nbytes // _THREADS) + 4095 & ~4095
    starts = range(part, nbytes, part)
    others = [_helpers().submit(ctypes.memmove, target + at, source + at, min(part, nbytes - at)) for at in starts]
    ctypes.memmove(target, source, min(part, nbytes))
    for other in others:
        other.result()
