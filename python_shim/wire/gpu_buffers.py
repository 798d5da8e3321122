"""GPU memory of our own, which has a name for other processes whatever torch's allocator is.

ComfyUI's usual one (cudaMallocAsync) and expandable segments give memory that no other process can open: a tensor in it is copied
into a buffer of these first. That is a copy on the GPU, a hundred times faster than the way through main memory.
"""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cuda_driver import CudaDriver

#: Free buffers are kept for the next tensor this long, in seconds, and no more of them than so many bytes.
KEEP_SECONDS = 5.0
KEEP_BYTES = 128 << 20
#: So much of the GPU stays free: with less, tensors go through main memory.
SPARE_BYTES = 512 << 20
_STEP = 2 << 20


class _Buffer:
    """One allocation."""

    def __init__(self, driver: CudaDriver, device: int, nbytes: int) -> None:
        self.device, self.size, self.freed = device, -(-nbytes // _STEP) * _STEP, 0.0
        self.address = driver.allocate(device, self.size, SPARE_BYTES)


class Lent:
    """A buffer that is in use: it goes back when the last reference to this does."""

    def __init__(self, buffers: GpuBuffers, buffer: _Buffer) -> None:
        self._buffers, self._buffer = buffers, buffer
        self.address = buffer.address

    def __del__(self) -> None:
        self._buffers.returned.append(self._buffer)  # in the middle of anything: takes no lock


class GpuBuffers:
    """The buffers of this process. Safe for threads."""

    def __init__(self, driver: CudaDriver) -> None:
        self._driver = driver
        self.returned: collections.deque[_Buffer] = collections.deque()
        self._free: collections.deque[_Buffer] = collections.deque()

    def take(self, device: int, nbytes: int) -> Lent:
        """A buffer of at least so many bytes. Raises OSError if the GPU has no room for it."""
        self._collect()
        for _ in range(len(self._free)):
            try:
                buffer = self._free.popleft()
            except IndexError:  # another thread was faster
                break
            if buffer.device == device and nbytes <= buffer.size <= 4 * max(nbytes, _STEP):
                return Lent(self, buffer)
            self._free.append(buffer)
        return Lent(self, _Buffer(self._driver, device, nbytes))

    def _collect(self) -> None:
        while self.returned:
            try:
                buffer = self.returned.popleft()
            except IndexError:
                return
            buffer.freed = time.monotonic()
            self._free.append(buffer)

    def shrink(self, older_than: float = KEEP_SECONDS) -> None:
        """Give back what has not been used for so many seconds, and what is more than `KEEP_BYTES`."""
        self._collect()
        limit, kept = time.monotonic() - older_than, 0
        for _ in range(len(self._free)):
            try:
                buffer = self._free.popleft()
            except IndexError:
                return
            if buffer.freed > limit and kept + buffer.size <= KEEP_BYTES:
                kept += buffer.size
                self._free.append(buffer)
            else:
                self._driver.free(buffer.device, buffer.address)
