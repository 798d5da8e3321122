"""One block of shared memory, and what names it."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import mmap
import os
import secrets
from typing import Any

from . import cuda
from .segment_file import close_file, make_file, populate

_serials = itertools.count(1)
#: How leases and segments of this process begin: a name that no other process has, ever. The bridge gives each worker's process one; a
#: process id would not do, since it is used again. What a node starts is another process: the name is not passed on.
OWNER = os.environ.pop("ENVMANAGER_OWNER", "") or secrets.token_hex(6)
#: Where segments have names, in place of anonymous ones: sandboxed processes cannot open each other's descriptors. None: nowhere.
FOLDER = os.environ.pop("ENVMANAGER_SEGMENTS", "") or None


def owner_of(lease: str) -> str:
    """The process that a lease is of, as its name tells."""
    return lease.split("-", 1)[0]


def memory_limit() -> int:
    """Bytes of shared memory that one process may own: `COMFY_ENV_MEMORY_LIMIT` (MiB), else half of what the machine or container has."""
    chosen = os.environ.get("COMFY_ENV_MEMORY_LIMIT", "")
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen) << 20
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 16 << 30
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="utf-8") as file:  # noqa: PTH123 - read in every worker's start: no pathlib for it
            text = file.read().strip()
        total = min(total, int(text)) if text.isdigit() else total
    except OSError:
        pass
    return total // 2


class Segment:
    """One block of shared memory that this process owns. `size` in bytes; with a `folder`, it has a name there."""

    def __init__(self, size: int, folder: str | None = None) -> None:
        self.size = size
        self.id = f"{OWNER}-{next(_serials)}"
        self.freed = 0.0
        self.pinned: bool | None = None
        self.fd, self.path = make_file(self.id, size, folder)
        try:
            self.map = mmap.mmap(self.fd, size)
        except BaseException:
            close_file(self.fd, self.path)
            raise
        self.view: Any = (ctypes.c_char * size).from_buffer(self.map)
        self.address = ctypes.addressof(self.view)
        populate(self.address, size)

    def close(self) -> None:
        """Give the memory back. Receivers that still map it keep their view."""
        cuda.unpin(self)
        self.view = None
        try:
            self.map.close()
        except BufferError:
            pass  # a tensor still looks at it: the mapping goes with that tensor
        close_file(self.fd, self.path)

    def leave(self) -> None:
        """In a forked child: the memory is its parent's, and so is its name."""
        self.view = None
        with contextlib.suppress(BufferError):
            self.map.close()
        os.close(self.fd)
