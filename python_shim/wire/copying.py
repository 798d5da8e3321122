"""Copies bytes between memory of this process, as fast as the machine can.

`memmove` in several threads: ctypes lets go of Python's lock meanwhile. From a certain size on glibc writes past the caches, which
halves the time where memory is the limit; the bridge makes that size small for workers (GLIBC_TUNABLES). On many cores torch's own
threads do it, which are there anyway and wake faster than Python's.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import cuda

#: Below this size waking a second thread takes longer than what it saves.
ALONE_BYTES = 4 << 20
#: Torch copies what is at least this large, if it has so many threads. With few it is slower: its threads share cores with each other.
WIDE_BYTES = 2 << 20
WIDE_THREADS = 8
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
    torch = sys.modules.get("torch")
    if nbytes >= WIDE_BYTES and torch is not None and torch.get_num_threads() >= WIDE_THREADS:
        _bytes(torch, target, nbytes).copy_(_bytes(torch, source, nbytes))
        return
    part = -(-nbytes // _THREADS) + 4095 & ~4095
    starts = range(part, nbytes, part)
    others = [_helpers().submit(ctypes.memmove, target + at, source + at, min(part, nbytes - at)) for at in starts]
    ctypes.memmove(target, source, min(part, nbytes))
    for other in others:
        other.result()


def _bytes(torch: Any, address: int, nbytes: int) -> Any:
    """That memory as a tensor."""
    return torch.frombuffer((ctypes.c_char * nbytes).from_address(address), dtype=torch.uint8)


def copy_tensor(torch: Any, source: Any, segment: Any, offset: int) -> None:
    """The bytes of a tensor on any device, in C order, to that place of a segment."""
    if source.is_cpu and source.is_contiguous():
        return copy_bytes(segment.address + offset, source.data_ptr(), source.numel() * source.element_size())
    if source.is_cuda:
        cuda.pin(torch, segment)
    room = torch.frombuffer(segment.map, dtype=source.dtype, count=source.numel(), offset=offset)
    room.view(source.shape).copy_(source)
