"""Shared-memory segments: pooled by their owner, mapped by the receiver, freed by message.

A segment is anonymous where the system allows it (Linux memfd): no name that could leak, no `/dev/shm` that could be full,
and the kernel frees it when the last process that maps it is gone. Elsewhere it is a file that its owner unlinks.

Receivers map copy-on-write: what a node writes into its input stays in that node's process.
"""

from __future__ import annotations

import itertools
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._protocol_types import SegmentRef

PAGE = 4096
#: Free segments above this many bytes are given back to the system.
KEEP_FREE_BYTES = 1 << 30


class Segment:
    """One block of shared memory that this process owns. `size` in bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.path: str | None = None
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("comfyui-envmanager", os.MFD_CLOEXEC)
        else:
            self.fd, self.path = tempfile.mkstemp(prefix="comfyui-envmanager-", suffix=".segment")
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.fd, 0, size)  # a full device is an OSError here, not a bus error later
            else:
                os.truncate(self.fd, size)
            self.map = mmap.mmap(self.fd, size)
        except BaseException:
            self._close_file()
            raise

    def _close_file(self) -> None:
        os.close(self.fd)
        if self.path is not None:
            os.unlink(self.path)

    def close(self) -> None:
        """Give the memory back. Receivers that still map it keep their view."""
        try:
            self.map.close()
        except BufferError:
            pass  # a tensor still looks at it: the mapping goes with that tensor
        self._close_file()


def _size_class(needed: int) -> int:
    """Round up so that nearly equal sizes share segments: at most 25 % more than `needed`, at least 64 KiB."""
    size = max(needed, 1 << 16)
    step = max(PAGE, 1 << (size.bit_length() - 3))
    return -(-size // step) * step


class SegmentPool:
    """The segments that this process owns, leased out one lease at a time. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[Segment] = []
        self._leased: dict[str, tuple[Segment, str]] = {}
        self._numbers = itertools.count(1)

    def lease(self, needed: int, holder: str) -> tuple[str, Segment]:
        """A segment of at least `needed` bytes for `holder`, and the lease's name."""
        with self._lock:
            fitting = [s for s in self._free if needed <= s.size <= max(4 * needed, 1 << 18)]
            segment = min(fitting, key=lambda s: s.size, default=None)
            if segment is not None:
                self._free.remove(segment)
        if segment is None:
            segment = Segment(_size_class(needed))
        name = f"{os.getpid()}-{next(self._numbers)}"
        with self._lock:
            self._leased[name] = (segment, holder)
        return name, segment

    def release(self, name: str) -> None:
        """End a lease. An unknown name is a lease that ended with its holder: nothing to do."""
        with self._lock:
            entry = self._leased.pop(name, None)
            if entry is None:
                return
            self._free.append(entry[0])
            spare: list[Segment] = []
            total = sum(s.size for s in self._free)
            while total > KEEP_FREE_BYTES:
                spare.append(self._free.pop(0))
                total -= spare[-1].size
        for segment in spare:
            segment.close()

    def hand_over(self, old: str, new: str) -> None:
        """From now on `new` holds what `old` held."""
        with self._lock:
            for name, (segment, holder) in self._leased.items():
                if holder == old:
                    self._leased[name] = (segment, new)

    def release_holder(self, holder: str) -> None:
        """End every lease of a process that is gone."""
        with self._lock:
            names = [name for name, (_, who) in self._leased.items() if who == holder]
        for name in names:
            self.release(name)

    def release_all(self) -> None:
        """End every lease: whoever held them is gone."""
        with self._lock:
            names = list(self._leased)
        for name in names:
            self.release(name)

    def ref(self, name: str, segment: Segment, offset: int, nbytes: int) -> SegmentRef:
        """The descriptor that travels in place of the bytes."""
        return {
            "lease": name,
            "pid": os.getpid() if segment.path is None else None,
            "fd": segment.fd if segment.path is None else None,
            "path": segment.path,
            "offset": offset,
            "bytes": nbytes,
        }

    def usage(self) -> tuple[int, int]:
        """Bytes leased and bytes free."""
        with self._lock:
            return sum(s.size for s, _ in self._leased.values()), sum(s.size for s in self._free)

    def close(self) -> None:
        """Give everything back."""
        with self._lock:
            segments = [*self._free, *(s for s, _ in self._leased.values())]
            self._free, self._leased = [], {}
        for segment in segments:
            segment.close()


def map_segment(ref: SegmentRef, released: Callable[[str], None]) -> mmap.mmap:
    """Map another process's segment copy-on-write. `released(lease)` runs, on any thread, when the last view of it is gone."""
    name = ref["path"] if ref["path"] is not None else f"/proc/{ref['pid']}/fd/{ref['fd']}"
    fd = os.open(name, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    try:
        if os.fstat(fd).st_size < ref["offset"] + ref["bytes"]:
            raise OSError(f"segment {ref['lease']} is shorter than its descriptor says")
        view = mmap.mmap(fd, 0, access=mmap.ACCESS_COPY)
    finally:
        os.close(fd)
    weakref.finalize(view, released, ref["lease"]).atexit = False
    return view
