"""The owner's half of shared memory: segments, pooled and leased.

A fresh segment costs ten times a warm one, because the kernel must clear and map every page, so segments are kept and used again,
and made ahead where more and more are needed. On Linux a segment has no name (memfd): nothing is left in /dev/shm, and its memory
is gone with the last process that maps it. Elsewhere it is a file that its owner unlinks. `mapping.py` is the receiver's half.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
import time
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from . import cuda
from .errors import CodedError
from .segment import FOLDER, OWNER, Segment, memory_limit, owner_of

if TYPE_CHECKING:
    from ._protocol_types import SegmentRef

__all__ = ["OWNER", "SegmentPool", "owner_of"]
PAGE = 4096
#: A free segment goes back to the system after so many seconds without use.
KEEP_SECONDS = 30.0
#: Segments up to this size are made ahead.
LARGEST_AHEAD = 256 << 20


def _size_class(needed: int) -> int:
    """Round up so that nearly equal sizes share segments: at most 25 % more than `needed`, at least 64 KiB."""
    size = max(needed, 1 << 16)
    step = max(PAGE, 1 << (size.bit_length() - 3))
    return -(-size // step) * step


class SegmentPool:
    """The segments that this process owns, leased out one lease at a time. Safe for threads."""

    def __init__(self, limit: int | None = None) -> None:
        self._lock = threading.Lock()
        self._free: list[Segment] = []
        self._leased: dict[str, Segment] = {}
        #: Leases of other processes' segments that we passed on, by the name of ours: what keeps theirs.
        self._passed: dict[str, Any] = {}
        #: Names of leases by the process that holds them, once that is known.
        self._held: dict[str, set[str]] = {}
        self._numbers = itertools.count(1)
        self._prefix = f"{OWNER}-"
        #: Where segments have names; None: nowhere.
        self.folder = FOLDER
        self.limit = memory_limit() if limit is None else limit
        self._owned = 0
        self._misses: dict[int, int] = {}
        self._ahead: set[int] = set()
        #: Names in `_passed` that were abandoned.
        self._stranded: set[str] = set()
        #: Processes that have ended: they hold nothing, whenever it is heard that they did.
        self._ended: set[str] = set()
        _pools.add(self)

    def lease(self, needed: int) -> tuple[str, Segment]:
        """A segment of at least `needed` bytes, and the lease's name. Raises MEMORY_FULL. `hold` says who got it."""
        size = _size_class(needed)
        with self._lock:
            segment = self._take(needed)
        if segment is None:
            segment = self._make(size)
        self._look_ahead(size)
        name = f"{self._prefix}{next(self._numbers)}"
        with self._lock:
            self._leased[name] = segment
        return name, segment

    def _take(self, needed: int) -> Segment | None:
        """The smallest free one that fits, of equal ones the last that was given back: in turns, none would ever be unused for long."""
        best: Segment | None = None
        for segment in reversed(self._free):
            if needed <= segment.size <= max(4 * needed, 1 << 18) and (best is None or segment.size < best.size):
                best = segment
        if best is not None:
            self._free.remove(best)
        return best

    def _make(self, size: int) -> Segment:
        """A fresh segment."""
        self.reserve(size)
        try:
            segment = Segment(size, self.folder)
        except (OSError, MemoryError) as error:
            self.unreserve(size)
            raise _full(size, str(error)) from error
        with self._lock:
            self._misses[size] = self._misses.get(size, 0) + 1
        return segment

    def _look_ahead(self, size: int) -> None:
        """Where segments of a size are being kept, one more is made while nobody waits for it."""
        with self._lock:
            wanted = self._misses.get(size, 0) > 1 and not any(segment.size == size for segment in self._free)
            room = self._owned + 2 * size <= self.limit
            if not wanted or not room or size > LARGEST_AHEAD or size in self._ahead:
                return
            self._ahead.add(size)
        threading.Thread(target=self._make_ahead, args=(size,), name="envmanager-ahead", daemon=True).start()

    def reserve(self, size: int) -> None:
        """Count `size` bytes as ours, at the cost of free segments if need be. Raises MEMORY_FULL."""
        spare: list[Segment] = []
        with self._lock:
            while self._owned + size > self.limit and self._free:
                spare.append(self._free.pop(0))
                self._owned -= spare[-1].size
            fits = self._owned + size <= self.limit
            if fits:
                self._owned += size
        for segment in spare:
            segment.close()
        if not fits:
            raise _full(size, f"{self._owned >> 20} of {self.limit >> 20} MiB are in use")

    def unreserve(self, size: int) -> None:
        """These bytes are not ours any more."""
        with self._lock:
            self._owned -= size

    def _make_ahead(self, size: int) -> None:
        segment = None
        try:
            self.reserve(size)
            segment = Segment(size, self.folder)
            segment.freed = time.monotonic()
        except CodedError:
            pass
        except (OSError, MemoryError):
            self.unreserve(size)
        with self._lock:
            self._ahead.discard(size)
            if segment is not None:
                self._free.append(segment)

    def pass_on(self, keeper: Any) -> str:
        """A lease of ours on another process's segment: `keeper` lives, and with it that process's lease, until ours is released."""
        name = f"{self._prefix}{next(self._numbers)}"
        with self._lock:
            self._passed[name] = keeper
        return name

    def hold(self, names: list[str], holder: str) -> None:
        """From now on the process `holder` has these leases. Those that it has released already are none any more; if it has ended, all."""
        with self._lock:
            ended = holder in self._ended
            alive = [name for name in names if name in self._leased or name in self._passed]
            if alive and not ended:
                self._held.setdefault(holder, set()).update(alive)
        if ended:
            self.release_all_of(alive)

    def release(self, name: str) -> None:
        """End a lease: nobody has it any more, and that is known. An unknown name is a lease that has ended before."""
        with self._lock:
            segment, passed = self._leased.pop(name, None), self._passed.pop(name, None)
            for names in self._held.values():
                names.discard(name)
            if segment is not None:
                segment.freed = time.monotonic()
                self._free.append(segment)
        del passed  # outside the lock: it may end a mapping

    def release_all_of(self, names: Iterable[str]) -> None:
        """End these leases."""
        for name in names:
            self.release(name)

    def release_holder(self, holder: str) -> None:
        """A process has ended, and with it every lease that it has, or will be said to have."""
        with self._lock:
            self._ended.add(holder)
            names = self._held.pop(holder, set())
        self.release_all_of(names)

    def abandon(self, names: Iterable[str], owners_too: bool = False) -> None:
        """Whoever has these leases is not heard of any more, and may still read: their memory is never used again.

        Our part of it goes now, the rest with the last process that maps it. What was only passed on stays until it is released, since its
        owner would use it again; unless nobody can tell that owner any more either (`owners_too`).
        """
        names = list(names)
        with self._lock:
            segments = [segment for name in names if (segment := self._leased.pop(name, None)) is not None]
            self._owned -= sum(segment.size for segment in segments)
            self._stranded.update(name for name in names if name in self._passed)
            ended = [self._passed.pop(name) for name in self._of_others()] if owners_too else []
        for segment in segments:
            segment.close()
        del ended

    def _of_others(self) -> list[str]:
        """Abandoned leases of other processes' memory. Of ours on a GPU there is no end that we could leave to the kernel."""
        found = [name for name in self._stranded if isinstance(self._passed.get(name), ctypes.Array)]
        self._stranded.difference_update(found)
        return found

    def abandon_held(self) -> None:
        """The bridge has ended, and so will its workers, nobody says when: what they hold is abandoned."""
        with self._lock:
            held, self._held = self._held, {}
        self.abandon([name for names in held.values() for name in names], owners_too=True)

    def shrink(self, older_than: float = KEEP_SECONDS) -> None:
        """Give segments back that nobody has used for so many seconds."""
        limit = time.monotonic() - older_than
        with self._lock:
            spare = [segment for segment in self._free if segment.freed <= limit]
            self._free = [segment for segment in self._free if segment.freed > limit]
            self._owned -= sum(segment.size for segment in spare)
            if not self._leased:
                self._misses.clear()
        for segment in spare:
            segment.close()
        cuda.shrink(min(older_than, cuda.KEEP_SECONDS))

    def ref(self, name: str, segment: Any, offset: int, nbytes: int) -> SegmentRef:
        """The descriptor that travels in place of the bytes."""
        anonymous = segment.path is None
        return {
            "lease": name,
            "segment": segment.id,
            "pid": os.getpid() if anonymous else None,
            "fd": segment.fd if anonymous else None,
            "path": segment.path,
            "offset": offset,
            "bytes": nbytes,
        }

    def use_folder(self, folder: str | None) -> None:
        """From now on segments have names in that folder; None: none. Free ones that are elsewhere, or in a folder made anew, go."""
        if folder is None and self.folder is None:
            return
        self.folder = folder
        self.shrink(older_than=0)

    def usage(self) -> tuple[int, int]:
        """Bytes leased and bytes free."""
        with self._lock:
            return sum(s.size for s in self._leased.values()), sum(s.size for s in self._free)

    def close(self) -> None:
        """Give everything back."""
        with self._lock:
            segments = self._forget()
        for segment in segments:
            segment.close()

    def leave(self) -> None:
        """In a forked child: nothing of this is its own. Its copies of the descriptors would keep the memory."""
        self._lock = threading.Lock()  # another thread of the parent's may have had it
        for segment in self._forget():
            segment.leave()

    def _forget(self) -> list[Segment]:
        segments = [*self._free, *self._leased.values()]
        self._free, self._leased, self._passed, self._held, self._owned = [], {}, {}, {}, 0
        return segments


#: Every pool of this process.
_pools: weakref.WeakSet[SegmentPool] = weakref.WeakSet()


def _in_child() -> None:
    for pool in list(_pools):
        pool.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _full(size: int, why: str) -> CodedError:
    what = f"There is no shared memory for {max(1, size >> 20)} MiB more: {why}."
    return CodedError("MEMORY_FULL", what, "Free memory (ComfyUI's Unload button empties its cache), or send smaller batches.")
