"""Asks the kernel which pages of a private mapping were written to: those are this process's own copies.

Exact where Linux tells (`/proc/self/pagemap`, Documentation/admin-guide/mm/pagemap.rst); elsewhere everything counts as written.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
#: Bits 61 (file page or shared memory), 62 (swapped out), 63 (present): a written page is there and is not the file's.
_SHARED, _THERE = 1, 6
#: `PAGEMAP_SCAN` of <linux/fs.h>, Linux 6.7: the kernel looks, and skips what was never touched. Its argument is twelve 64-bit words.
_SCAN = 3 << 30 | 12 * 8 << 16 | ord("f") << 8 | 16
_IS_FILE, _IS_PRESENT, _IS_SWAPPED = 1 << 2, 1 << 3, 1 << 4
_pagemap: int | None = None
_can_scan = sys.platform == "linux"


def _open() -> int:
    global _pagemap
    if _pagemap is None:
        _pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    return _pagemap


def _scan(start: int, end: int) -> bool | None:
    """Whether there is a page that is present or swapped out, and not the file's; None where the kernel cannot be asked so."""
    global _can_scan
    if not _can_scan:
        return None
    import fcntl

    region = (ctypes.c_uint64 * 3)()  # where the first one found is told
    most, wanted = 1, _IS_PRESENT | _IS_SWAPPED
    words = (12 * 8, 0, start, end, 0, ctypes.addressof(region), 1, most, _IS_FILE, _IS_FILE, wanted, _IS_PRESENT)
    try:
        return fcntl.ioctl(_open(), _SCAN, bytearray(struct.pack("=12Q", *words))) > 0
    except OSError:
        _can_scan = False
        return None


def _entries(address: int, nbytes: int) -> bytes | None:
    first, last = address // PAGE, (address + nbytes - 1) // PAGE
    try:
        data = os.pread(_open(), (last - first + 1) * 8, first * 8)
    except OSError:
        return None
    return data if len(data) == (last - first + 1) * 8 else None


def written(address: int, nbytes: int) -> bool:
    """Whether any page of the range was written to by this process since it was mapped copy-on-write."""
    if sys.platform != "linux" or nbytes == 0:
        return nbytes > 0
    found = _scan(address // PAGE * PAGE, -(-(address + nbytes) // PAGE) * PAGE)
    if found is not None:
        return found
    data = _entries(address, nbytes)
    if data is None:
        return True
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        tops = numpy.frombuffer(data, numpy.uint8)[7 if sys.byteorder == "little" else 0 :: 8] >> 5
        return bool(((tops & _SHARED == 0) & (tops & _THERE != 0)).any())
    tops = {entry >> 61 for (entry,) in struct.iter_unpack("=Q", data)}
    return any(top & _THERE and not top & _SHARED for top in tops)
