"""The worker's end of what must be heard while a node runs: JSON lines, on descriptors that no print can reach. `tasks.py` has the rest."""

from __future__ import annotations

import os
import threading
from typing import Any, BinaryIO

from ..wire.peer import dumps
from . import forks


def take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Move the lines off descriptors 0 and 1.

    What the pack, its libraries and native code print on 1 goes to 2, the worker's log; what they read from 0 is empty.
    """
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return requests, answers


class Channel:
    """Sends lines; safe for threads. Without `out` nobody listens."""

    def __init__(self, out: BinaryIO | None) -> None:
        self._out, self._lock = out, threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Write one message now."""
        if self._out is None or forks.is_child():
            return
        line = dumps(message).encode() + b"\n"
        with self._lock:
            self._out.write(line)
            self._out.flush()

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Write one notification now."""
        self.send({"method": method, "params": params})
