"""Results that are born in shared memory, and so leave a worker without a copy (docs/adr/0014-shared-heap.md).

Blocks of glibc's heap are put on the pages of segments and given back to malloc: a tensor that torch then makes there has its bytes in a
segment from the start. Only a tensor that nobody else in the worker can reach is handed out so: nothing can write into it any more.
Linux with glibc only. Elsewhere, and wherever anything is in doubt, bytes are copied.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from .errors import CodedError
from .segment_file import close_file, make_file, populate
from .segments import OWNER, PAGE, SegmentPool

#: Results from this size on are handed out without a copy.
SMALLEST = 1 << 20
LARGEST = 512 << 20
MOST_BLOCKS = 32
#: So much is made for results of a size before one was found in it.
TRIED_BYTES = 256 << 20
#: torch asks for aligned memory: glibc looks for more than that, and cuts the rest off again. A block has room for that and no more:
#: beside a tensor small things would move in, and stay.
_CUT = 256
_READ_WRITE, _SHARED, _PRIVATE, _FIXED, _ANONYMOUS = 3, 1, 2, 16, 32
_MADV_DONTNEED = 4
#: What the bridge tells glibc in workers (`launch.ts`): its thread cache would keep what was cut off, and no block would be whole again.
NEEDED = "glibc.malloc.tcache_max=88"
_serials = itertools.count(1)


class Block:
    """A part of the heap that is a segment: `address` and `size` in bytes, whole pages."""

    def __init__(self, size: int, address: int, folder: str | None) -> None:
        self.size, self.address = size, address
        self.id = f"{OWNER}-h{next(_serials)}"
        self.fd, self.path = make_file(size, folder)

    def holds(self, address: int, nbytes: int) -> bool:
        """Whether the range lies in it."""
        return self.address <= address and address + nbytes <= self.address + self.size


class Tally:
    """What became of the results of one size."""

    def __init__(self) -> None:
        self.found = self.missed = self.made = 0

    def wants_more(self, size: int) -> bool:
        """Whether another block is likely to be used: results of other threads, for instance, never lie in one. Every now and then anew."""
        tried = self.made >= 2 and (self.made >= 8 or self.made * size > TRIED_BYTES)
        return self.missed > 1 and (not tried or self.made <= self.found + self.missed // 16)


class SharedHeap:
    """The blocks of this process. Safe for threads."""

    smallest = SMALLEST

    def __init__(self, pool: SegmentPool, count_alone: Callable[[Any], tuple[int, int, int]]) -> None:
        self._pool, self._libc, self._count_alone = pool, _glibc(), count_alone
        self._alone: tuple[int, int, int] | None = None
        self._lock = threading.Lock()
        self._blocks: list[Block] = []
        #: Blocks whose pages are this process's own again; receivers may still read their files.
        self._former: list[Block] = []
        self._tallies: dict[int, Tally] = {}
        self._wanted: list[tuple[int, Any]] = []
        #: Memory that malloc would prefer to the blocks: never freed, and without pages.
        self._held: list[Any] = []
        self._growing = 0
        self.on = self._libc is not None
        if self.on:
            os.register_at_fork(before=self._part)

    def is_alone(self, torch: Any, value: Any, storage: Any) -> bool:
        """Whether nobody but the message that is being encoded can reach the tensor or its memory.

        Memory of others (numpy's, a file's) cannot be resized, and does not count as alone: its owner may write into it.
        """
        if not self.on:
            return False
        try:
            if self._alone is None:
                self._alone = self._count_alone(torch)
            seen = _references(torch, value, storage)
            return storage.resizable() and all(a <= b for a, b in zip(seen, self._alone, strict=True))
        except AttributeError:  # a torch that does not tell
            self.on = False
            return False

    def find(self, storage: Any, address: int, nbytes: int) -> Block | None:
        """The block that this memory, which only the caller can reach, lies in. If none: there will be one the next time but one."""
        if not self.on:
            return None
        size = -(-(nbytes + _CUT) // PAGE) * PAGE
        tally = self._tallies.setdefault(size, Tally())
        inside = next((block for block in self._blocks if block.holds(address, nbytes)), None)
        if inside is not None and inside.size <= 4 * nbytes:  # a result that ComfyUI keeps keeps all of its block
            tally.found += 1
            return inside
        tally.missed += 1
        if size <= LARGEST and tally.wants_more(size):
            self._wanted.append((size, storage if inside is None else None))
        return None

    def settle(self) -> None:
        """After an answer, while nobody waits: make what was missing. Main thread: other threads have heaps of their own."""
        if not self._wanted:
            return
        rooms = [(size, storage, room) for size, storage in self._wanted if (room := self._room(size)) is not None]
        self._wanted.clear()
        threading.Thread(target=self._grow, args=(rooms,), name="envmanager-heap", daemon=True).start()

    def _room(self, size: int) -> tuple[int, int] | None:
        """Two chunks of the heap: the second keeps the first, when it is free, from growing into what lies after it."""
        used = sum(block.size for block in self._blocks)
        if len(self._blocks) + self._growing >= MOST_BLOCKS or used + size > self._pool.limit // 2:
            return None
        try:
            self._pool.reserve(size)
        except CodedError:
            return None
        total = size + 3 * PAGE
        chunk, after = self._outside(total), self._outside(total)
        if chunk and after:
            self._growing += 1
            return chunk, after
        self._libc.free(chunk)
        self._libc.free(after)
        self._pool.unreserve(size)
        return None

    def _outside(self, size: int) -> int | None:
        """malloc, but not from a block. None if there is nothing else."""
        found: list[int | None] = [self._libc.malloc(size)]
        while found[-1] and any(block.holds(found[-1], 0) for block in self._blocks):
            found.append(self._libc.malloc(size))
        for inside in found[:-1]:
            self._libc.free(inside)
        return found[-1]

    def _grow(self, rooms: list[tuple[int, Any, tuple[int, int]]]) -> None:
        for size, storage, (chunk, after) in rooms:
            self._fill(size, storage, chunk, after)
            self._growing -= 1

    def _fill(self, size: int, storage: Any, chunk: int, after: int) -> None:
        """Put a block under the first chunk, and free it.

        Shrinking a chunk frees its end in place: so what is free begins at the block's first byte, between two chunks that stay.
        """
        address = -(-(chunk + 64) // PAGE) * PAGE
        block = self._put(size, address)
        if block is None:
            self._pool.unreserve(size)
            self._libc.free(chunk)
        else:
            populate(address, size)
            self._tallies[size].made += 1
            if storage is not None:
                self._hold(storage)
            self._libc.realloc(chunk, address - chunk - 8)  # glibc's chunks have a header, of which 8 bytes count
        self._libc.realloc(after, 64)

    def _put(self, size: int, address: int) -> Block | None:
        try:
            block = Block(size, address, self._pool.folder)
        except OSError:
            return None
        with self._lock:
            if self.on and self._map(block, _SHARED):
                self._blocks.append(block)
                return block
        close_file(block.fd, block.path)
        return None

    def _map(self, block: Block, kind: int) -> bool:
        mapped = self._libc.mmap(block.address, block.size, _READ_WRITE, kind | _FIXED, block.fd, 0)
        return bool(mapped == block.address)

    def _hold(self, storage: Any) -> None:
        """Keep the address of what was copied, since malloc prefers the chunk that fits best, and give its pages back."""
        first = -(-storage.data_ptr() // PAGE) * PAGE
        last = (storage.data_ptr() + storage.nbytes()) // PAGE * PAGE
        self._libc.madvise(first, last - first, _MADV_DONTNEED)
        self._held.append(storage)

    def _part(self) -> None:
        """Before a fork: a heap that two processes share would be the end of both. From here on each page is private, and stays so."""
        with self._lock:
            self.on = False
            for block in self._blocks:
                self._map(block, _PRIVATE)
            self._former += self._blocks
            self._blocks = []

    def shrink(self) -> None:
        """Give back the blocks that are free as a whole. Main thread."""
        if not self.on:
            return
        with self._lock:
            for size in {block.size for block in self._blocks}:
                self._give_back(size)
            if not self._blocks:
                self._held.clear()
                self._tallies.clear()

    def _give_back(self, size: int) -> None:
        """What malloc hands out as a whole block was free. It may have others of that size: all are taken before one is freed again."""
        libc = self._libc
        blocks = {block.address: block for block in self._blocks if block.size == size}
        chunks = [libc.malloc(size) for _ in range(2 * len(blocks))]
        for block in [blocks[chunk] for chunk in chunks if chunk in blocks]:
            libc.mmap(block.address, size, _READ_WRITE, _PRIVATE | _ANONYMOUS | _FIXED, -1, 0)
            self._blocks.remove(block)
            close_file(block.fd, block.path)
            self._pool.unreserve(size)
        for chunk in chunks:
            libc.free(chunk)


def _glibc() -> Any:
    """The C library, if its malloc is the one in use (another may be preloaded) and was told what this needs."""
    if sys.platform != "linux" or os.environ.get("COMFY_ENV_SHARED_HEAP") == "0" or NEEDED not in os.environ.get("GLIBC_TUNABLES", ""):
        return None
    try:
        libc, loaded = ctypes.CDLL("libc.so.6"), ctypes.CDLL(None)
        if not hasattr(libc, "gnu_get_libc_version") or not _is_in_use(libc, loaded):
            return None
    except OSError:
        return None
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.malloc.restype, libc.malloc.argtypes = pointer, [size]
    libc.realloc.restype, libc.realloc.argtypes = pointer, [pointer, size]
    libc.free.restype, libc.free.argtypes = None, [pointer]
    libc.mmap.restype, libc.mmap.argtypes = pointer, [pointer, size, number, number, number, ctypes.c_long]
    libc.madvise.argtypes = [pointer, size, number]
    return libc


class _Counts(ctypes.Structure):
    """`struct mallinfo2` of <malloc.h>; `uordblks` is what malloc has given out, in bytes."""

    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]


def _is_in_use(libc: Any, loaded: Any) -> bool:
    """Whether what the process calls malloc is glibc's: its counts tell. The addresses do not: in a program that is not
    position-independent, as Ubuntu's and Debian's Python, a function has another one (ELF, x86-64 psABI, "Function Addresses").
    glibc 2.33 or newer."""
    if not hasattr(libc, "mallinfo2"):
        return False
    libc.mallinfo2.restype = _Counts
    loaded.malloc.restype, loaded.malloc.argtypes, loaded.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
    before = libc.mallinfo2().uordblks
    chunk = loaded.malloc(1 << 20)
    given = libc.mallinfo2().uordblks - before
    loaded.free(chunk)
    return bool(given >= 1 << 20)


def _references(torch: Any, value: Any, storage: Any) -> tuple[int, int, int]:
    """How many hold the Python object, the tensor below it, and its memory."""
    return sys.getrefcount(value), value._use_count(), torch._C._storage_Use_Count(storage._cdata)


class Probe:
    """Stands for the heap while a tensor that is known to be alone is encoded: what the encoder itself holds, in this Python version."""

    smallest = 0

    def __init__(self) -> None:
        self.seen: tuple[int, int, int] | None = None

    def is_alone(self, torch: Any, value: Any, storage: Any) -> bool:
        """Only counts."""
        self.seen = _references(torch, value, storage)
        return False

    def find(self, storage: Any, address: int, nbytes: int) -> Block | None:
        """Nothing is handed out."""
