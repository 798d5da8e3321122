"""Where the tensors of one message are put: segments of their own, or one that several share."""

from __future__ import annotations

from typing import Any

from .segments import SegmentPool

#: Tensors from this size on have a segment of their own; smaller ones of one message share, …
OWN_SEGMENT_BYTES = 1 << 20
#: … and so do all after this many: a segment takes a file descriptor on either side (`ulimit -n` is often 1024).
MOST_OWN_SEGMENTS = 16
LARGEST_SHARED = 64 << 20
_ALIGN = 64


class Places:
    """Leases of one message, as it takes them from `pool`."""

    def __init__(self, pool: SegmentPool) -> None:
        self.leases: list[str] = []
        self._pool = pool
        self._own = 0
        self._shared: tuple[str, Any, int] | None = None

    def room(self, nbytes: int) -> tuple[str, Any, int]:
        """A place for `nbytes`: lease, segment and offset."""
        if nbytes >= OWN_SEGMENT_BYTES and self._own < MOST_OWN_SEGMENTS:
            self._own += 1
            return (*self._lease(nbytes), 0)
        if self._shared is not None:
            lease, segment, used = self._shared
            if used + nbytes <= segment.size:
                self._shared = (lease, segment, -(-(used + nbytes) // _ALIGN) * _ALIGN)
                return lease, segment, used
        # a message of many tensors gets bigger and bigger places for them
        before = self._shared[1].size if self._shared is not None else OWN_SEGMENT_BYTES // 8
        lease, segment = self._lease(max(nbytes, min(4 * before, LARGEST_SHARED)))
        self._shared = (lease, segment, -(-nbytes // _ALIGN) * _ALIGN)
        return lease, segment, 0

    def _lease(self, nbytes: int) -> tuple[str, Any]:
        lease, segment = self._pool.lease(nbytes)
        self.leases.append(lease)
        return lease, segment
