"""The memory of a segment: where it comes from, and how it is mapped."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile

_MADV_POPULATE_WRITE = 23  # <asm-generic/mman-common.h>, Linux 5.14


def make_file(size: int, folder: str | None) -> tuple[int, str | None]:
    """The memory of a segment: its descriptor, and its path if it has a name in `folder`. Raises OSError if there is no room."""
    path: str | None = None
    if folder is None and hasattr(os, "memfd_create"):
        fd = os.memfd_create("comfyui-envmanager", os.MFD_CLOEXEC)
    else:
        fd, path = tempfile.mkstemp(prefix="comfyui-envmanager-", suffix=".segment", dir=folder)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)  # a full device is an OSError here, not a bus error later
        else:
            os.truncate(fd, size)
    except BaseException:
        close_file(fd, path)
        raise
    return fd, path


def close_file(fd: int, path: str | None) -> None:
    """The owner's end of a segment's memory."""
    os.close(fd)
    if path is not None:
        with contextlib.suppress(FileNotFoundError):  # its folder may have gone with the bridge
            os.unlink(path)


def populate(address: int, size: int) -> None:
    """Map every page at once; ctypes, because mmap.madvise would keep Python's lock meanwhile."""
    if sys.platform == "linux":
        ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), _MADV_POPULATE_WRITE)
