"""The memory of a segment: where it comes from, and how it is mapped."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
import tempfile

_PREFIX, _SUFFIX = "comfyui-envmanager-", ".segment"
_MADV_POPULATE_WRITE = 23  # <asm-generic/mman-common.h>, Linux 5.14


def make_file(segment: str, size: int, folder: str | None) -> tuple[int, str | None]:
    """The memory of a segment: its descriptor, and its path if it has a name in `folder`. Raises OSError if there is no room.

    Both are named by the segment: a descriptor's number, or a process's, may belong to something else when a receiver opens it (`is_of`).
    """
    path: str | None = None
    if folder is None and hasattr(os, "memfd_create"):
        fd = os.memfd_create(_PREFIX + segment, os.MFD_CLOEXEC)
    else:
        path = os.path.join(tempfile.gettempdir() if folder is None else folder, f"{_PREFIX}{segment}{_SUFFIX}")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)  # a full device is an OSError here, not a bus error later
        else:
            os.truncate(fd, size)
    except BaseException:
        close_file(fd, path)
        raise
    return fd, path


def open_file(segment: str, path: str | None, pid: int | None, number: int | None) -> int:
    """A descriptor of another process's segment, to read. Raises OSError if it is not there any more."""
    name = path if path is not None else f"/proc/{pid}/fd/{number}"
    fd = os.open(name, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    is_it = (
        os.path.basename(name) == f"{_PREFIX}{segment}{_SUFFIX}"
        if path is not None
        else _link(fd) == f"/memfd:{_PREFIX}{segment} (deleted)"
    )
    if not is_it:
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, f"segment {segment} is gone, and something else lies there", name)
    return fd


def _link(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


def close_file(fd: int, path: str | None) -> None:
    """The owner's end of a segment's memory."""
    os.close(fd)
    if path is not None:
        with contextlib.suppress(FileNotFoundError):  # its folder may have gone with the bridge
            os.unlink(path)


def populate(address: int, size: int) -> bool:
    """Map every page at once, for writing: of a private mapping these are copies from then on. False if the kernel does not do that.

    By ctypes, because mmap.madvise would keep Python's lock meanwhile.
    """
    if sys.platform != "linux":
        return False
    return ctypes.CDLL(None, use_errno=True).madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), _MADV_POPULATE_WRITE) == 0
