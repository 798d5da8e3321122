"""Asks the kernel which pages of a private mapping were written to: those are this process's own copies.

Exact where Linux tells (`/proc/self/pagemap`, Documentation/admin-guide/mm/pagemap.rst); elsewhere everything counts as written.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
#: Bits 61 (file page or shared memory), 62 (swapped out), 63 (present): a written page is there and is not the file's.
_SHARED, _THERE = 1, 6
_pagemap: int | None = None


def _entries(address: int, nbytes: int) -> bytes | None:
    global _pagemap
    first, last = address // PAGE, (address + nbytes - 1) // PAGE
    try:
        if _pagemap is None:
            _pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        data = os.pread(_pagemap, (last - first + 1) * 8, first * 8)
    except OSError:
        return None
    return data if len(data) == (last - first + 1) * 8 else None


def written(address: int, nbytes: int) -> bool:
    """Whether any page of the range was written to by this process since it was mapped copy-on-write."""
    if sys.platform != "linux" or nbytes == 0:
        return nbytes > 0
    data = _entries(address, nbytes)
    if data is None:
        return True
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        tops = numpy.frombuffer(data, numpy.uint8)[7 if sys.byteorder == "little" else 0 :: 8] >> 5
        return bool(((tops & _SHARED == 0) & (tops & _THERE != 0)).any())
    tops = {entry >> 61 for (entry,) in struct.iter_unpack("=Q", data)}
    return any(top & _THERE and not top & _SHARED for top in tops)
