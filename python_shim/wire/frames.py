"""Frames of the call path: a short header that the bridge reads, and a body that it passes on unread.

`u32 header bytes, u32 body bytes` (big-endian), then both as UTF-8 JSON. The headers are the schemas of `schemas/callLink.ts`.
"""

from __future__ import annotations

import collections
import json
import struct
from collections.abc import Iterator
from typing import Any

from .errors import CodedError

#: As in `bridge/rpc/frames.ts`. Tensors, long texts and bytes lie in shared memory and do not count.
LARGEST_HEADER = 1 << 20
LARGEST_BODY = 256 << 20
#: The event by which a node that interrupts ComfyUI does so from its worker.
INTERRUPT = "envmanager.interrupt"
_SIZES = struct.Struct(">II")
#: One line of ASCII: no lone surrogate can break it, and what JSON has no word for is an error here and not there.
to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False, check_circular=False).encode


def pack(header: dict[str, Any], body: bytes = b"") -> bytes:
    """One frame. Raises VALUE_NOT_PORTABLE if the body is larger than a frame may be."""
    if len(body) > LARGEST_BODY:
        what = f"The values of this call take {len(body) >> 20} MiB as text, and {LARGEST_BODY >> 20} MiB can be sent."
        raise CodedError("VALUE_NOT_PORTABLE", what, "Pass numbers as a tensor or an array: those go through shared memory.")
    head = to_json(header).encode()
    return b"%b%b%b" % (_SIZES.pack(len(head), len(body)), head, body)


class FrameReader:
    """Takes bytes as they come and gives whole frames."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._ready: collections.deque[tuple[dict[str, Any], bytes]] = collections.deque()
        self._broken: ValueError | None = None

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Frames that are complete with `data`: header and body. Raises ValueError for what is no frame, after those before it.

        What the consumer leaves, because it raised or stopped, comes first at the next call.
        """
        try:
            self._take(data)
        except ValueError as error:
            self._broken = error
        return self._given()

    def _given(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        while self._ready:
            yield self._ready.popleft()
        if self._broken is not None:
            raise ValueError(*self._broken.args) from self._broken

    def _take(self, data: bytes) -> None:
        if self._broken is not None:
            return
        if self._waiting:
            self._waiting += data
            if len(self._waiting) < self._needed(self._waiting, 0):
                return
            data, self._waiting = bytes(self._waiting), bytearray()
        at, end = 0, len(data)
        while end - at >= self._needed(data, at):
            head, _ = _SIZES.unpack_from(data, at)
            start, stop = at + 8, at + self._needed(data, at)
            at = stop
            self._ready.append((json.loads(data[start : start + head]), data[start + head : stop]))
        self._waiting = bytearray(data[at:])

    def _needed(self, data: bytes | bytearray, at: int) -> int:
        """How many bytes the frame that begins there has; while that is not known, those that tell it."""
        if len(data) - at < 8:
            return 8
        head, body = _SIZES.unpack_from(data, at)
        if head > LARGEST_HEADER or body > LARGEST_BODY:
            raise ValueError("a frame is larger than the protocol allows")
        return 8 + head + body
