"""What the bridge is told beside the calls, with whatever frame goes there next."""

from __future__ import annotations

import collections
from typing import Any

from ..wire.mapping import MappedSegments
from .ways import Ways, drained

#: So many names go in one header.
MOST = 5000


class Beside:
    """Leases let go of, results mapped, straight calls that have ended: each is told once, and kept until it has been."""

    def __init__(self, mapped: MappedSegments, ways: Ways) -> None:
        self._mapped, self._ways = mapped, ways
        self._received: collections.deque[str] = collections.deque()

    def received(self, call: str) -> None:
        """The result of a call is mapped."""
        self._received.append(call)

    def take(self, released: list[str] | None = None) -> dict[str, Any]:
        """What is to be told now; `released`: in place of what has been let go of."""
        released = self._mapped.let_go() if released is None else released
        self._mapped.copied(released[MOST:])  # for the next frame: a header has its limit
        found = {"released": released[:MOST], "received": drained(self._received), "ended": self._ways.told()}
        return {name: told for name, told in found.items() if told}

    def put_back(self, header: dict[str, Any]) -> None:
        """The frame has not gone."""
        self._mapped.copied(header.get("released", []))
        self._received.extend(header.get("received", ()))
        self._ways.put_back(header.get("ended", []))
