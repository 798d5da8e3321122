"""The worker's end of the link: JSON lines on descriptors that no print can reach."""

from __future__ import annotations

import os
import queue
import threading
from typing import Any, BinaryIO

from ..wire.peer import dumps


def take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Move the protocol off descriptors 0 and 1.

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
    """Sends messages; safe for threads. `later` may be called from a finalizer, in the middle of anything."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._lock = out, threading.Lock()
        self._later: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._send_later, name="envmanager-send", daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        """Write one message now."""
        line = dumps(message).encode() + b"\n"
        with self._lock:
            self._out.write(line)
            self._out.flush()

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Write one notification now."""
        self.send({"method": method, "params": params})

    def later(self, method: str, params: dict[str, Any]) -> None:
        """Queue a notification. Takes no lock: the garbage collector may call it while this thread holds one."""
        self._later.put({"method": method, "params": params})

    def _send_later(self) -> None:
        while True:
            self.send(self._later.get())
