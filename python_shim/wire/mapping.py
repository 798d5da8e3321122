"""The receiver's half of shared memory: maps other processes' segments copy-on-write, and tells when it has let go of them.

What is mapped here can be passed on without a copy, as long as nothing has written into it. A mapping that stayed clean is kept
for the next lease of the same segment: mapping and reading it anew costs more than copying it would.
"""

from __future__ import annotations

import bisect
import collections
import ctypes
import errno
import mmap
import os
import queue
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from .errors import CodedError
from .pages import PAGE, written
from .segment_file import open_file, populate
from .segments import owner_of

if TYPE_CHECKING:
    from ._protocol_types import SegmentRef

#: A mapping without a lease is kept this long, in seconds, …
PARK_SECONDS = 30.0
#: … and not more of them than this.
MOST_PARKED = 32
#: What a process may lack itself when it maps, and what helps.
_OWN_LIMITS = {
    errno.ENOMEM: "Send smaller batches, or give workers more memory (Machine, Settings).",
    errno.EMFILE: "Let go of results that are kept, or allow more open files (`ulimit -n`).",
    errno.ENFILE: "The system has as many files open as it may: end programs that are not needed.",
}


class Mapping:
    """One lease of a segment, mapped here. Alive while any tensor, array or view looks at it."""

    __slots__ = ("address", "map", "ref", "watch")

    def __init__(self, ref: SegmentRef, view: Any, mapped: mmap.mmap) -> None:
        self.ref, self.map = ref, mapped
        self.address = ctypes.addressof(view)
        self.watch: Any = None

    @property
    def end(self) -> int:
        return self.address + len(self.map)

    def view(self) -> Any:
        """The object whose death ends the lease; None if it has ended."""
        return self.watch()


class MappedSegments:
    """Every segment of other processes that this process looks at. Safe for threads; finalizers only put into a queue."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: dict[int, Mapping] = {}
        self._starts: list[int] = []
        self._parked: collections.OrderedDict[str, tuple[mmap.mmap, float]] = collections.OrderedDict()
        self._ended: queue.SimpleQueue[Mapping] = queue.SimpleQueue()
        self._gone: set[str] = set()
        self._names: list[str] = []
        self._to_park: list[Mapping] = []
        #: What a forked child looks at, and could not be copied for it: their leases never end.
        self._pinned: list[Any] = []
        _all.add(self)

    def map(self, ref: SegmentRef) -> Any:
        """The whole segment as a writable buffer, private to this process. Raises OSError if it is gone.

        The lease ends when the last object that looks at the buffer is gone; `let_go` then names it.
        """
        with self._lock:
            self._settle()
            self._park_all()
            kept = self._parked.pop(ref["segment"], None)
        mapped = _open(ref) if kept is None else kept[0]
        view = (ctypes.c_char * len(mapped)).from_buffer(mapped)
        mapping = Mapping(ref, view, mapped)
        ended = self._ended
        # the garbage collector may run this in the middle of anything: it takes no lock
        mapping.watch = weakref.ref(view, lambda _: ended.put(mapping))
        with self._lock:
            self._active[mapping.address] = mapping
            bisect.insort(self._starts, mapping.address)
        return view

    def find(self, address: int, nbytes: int) -> tuple[Mapping, Any] | None:
        """The lease that this memory belongs to, and the object that keeps it, if nothing was written into it here."""
        with self._lock:
            at = bisect.bisect_right(self._starts, address) - 1
            mapping = self._active.get(self._starts[at]) if at >= 0 else None
        if mapping is None or address + nbytes > mapping.end or owner_of(mapping.ref["lease"]) in self._gone:
            return None
        keeper = mapping.view()
        if keeper is None or written(address, nbytes):
            return None
        return mapping, keeper

    def before_fork(self) -> None:
        """A child sees what is mapped here as it is now, also when this process's leases end: so every page becomes this process's own.

        Takes no lock: who forks may have been interrupted anywhere.
        """
        for mapping in list(self._active.values()):
            view = mapping.view()
            if view is not None and not _make_own(mapping.address, len(mapping.map)):
                self._pinned.append(view)

    def leave(self) -> None:
        """In a forked child: the leases are its parent's to tell of."""
        self._lock = threading.Lock()
        self._ended, self._names, self._to_park = queue.SimpleQueue(), [], []
        self._active, self._starts = {}, []
        self._parked.clear()

    def owner_gone(self, owner: str) -> None:
        """That process has ended. What is mapped stays valid, and can be passed on as a copy only."""
        self._gone.add(owner)

    def let_go(self) -> list[str]:
        """Names of the leases that have ended since the last call: their owners are to be told."""
        if self._ended.empty() and not self._names:
            return []
        with self._lock:
            self._settle()
            names, self._names = self._names, []
        return names

    def _settle(self) -> None:
        while not self._ended.empty():
            mapping = self._ended.get_nowait()
            mapping.watch = None
            self._names.append(mapping.ref["lease"])
            if self._active.get(mapping.address) is mapping:
                del self._active[mapping.address]
                self._starts.remove(mapping.address)
            self._to_park.append(mapping)

    def copied(self, leases: list[str]) -> None:
        """These leases were read in full: their owners are to be told."""
        self._names += leases

    def settle(self) -> None:
        """Do now, while there is time, what the next `map` would do first."""
        if not self._ended.empty() or self._to_park:
            with self._lock:
                self._settle()
                self._park_all()

    def _park_all(self) -> None:
        while self._to_park:
            self._park(self._to_park.pop())

    def _park(self, mapping: Mapping) -> None:
        """Keep a mapping for the next lease of its segment, unless something was written into it."""
        segment = mapping.ref["segment"]
        if segment in self._parked or owner_of(mapping.ref["lease"]) in self._gone or written(mapping.address, len(mapping.map)):
            return _close(mapping.map)
        self._parked[segment] = (mapping.map, time.monotonic())
        while len(self._parked) > MOST_PARKED:
            _close(self._parked.popitem(last=False)[1][0])

    def forget_unused(self, older_than: float = PARK_SECONDS) -> None:
        """Unmap what has not been used for so many seconds: its owner may have given the segment up."""
        limit = time.monotonic() - older_than
        with self._lock:
            for segment, (mapped, since) in list(self._parked.items()):
                if since <= limit:
                    del self._parked[segment]
                    _close(mapped)


def _close(mapped: mmap.mmap) -> None:
    try:
        mapped.close()
    except BufferError:
        pass  # its last view is being freed on another thread, and the mapping goes with it


def _open(ref: SegmentRef) -> mmap.mmap:
    """Raises OSError if the segment is gone, and MEMORY_FULL if this process can take no more."""
    try:
        fd = open_file(ref["segment"], ref["path"], ref["pid"], ref["fd"])
        try:
            if os.fstat(fd).st_size < ref["offset"] + ref["bytes"]:
                raise OSError(f"segment {ref['segment']} is shorter than its descriptor says")
            return mmap.mmap(fd, 0, access=mmap.ACCESS_COPY)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno not in _OWN_LIMITS:
            raise
        what = f"This process cannot map {max(1, ref['bytes'] >> 20)} MiB of shared memory more: {os.strerror(error.errno)}."
        raise CodedError("MEMORY_FULL", what, _OWN_LIMITS[error.errno]) from error


def _make_own(address: int, size: int) -> bool:
    """Turn every page of a private mapping into a copy of this process's own. False if there is no room for them."""
    if populate(address, size):
        return True
    if sys.platform == "linux" and ctypes.get_errno() == errno.ENOMEM:
        return False
    for at in range(address, address + size, PAGE):  # an older kernel: a page that is written to is a copy
        byte = ctypes.c_char.from_address(at)
        byte.value = byte.value
    return True


#: Every collection of this process.
_all: weakref.WeakSet[MappedSegments] = weakref.WeakSet()


def _before_fork() -> None:
    for mapped in list(_all):
        mapped.before_fork()


def _in_child() -> None:
    for mapped in list(_all):
        mapped.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
