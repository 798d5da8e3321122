"""The worker's ends of its two links, on descriptors that no print can reach.

Tasks (node calls, one after the other) are frames on descriptors 3 and 4, read and answered by the main thread itself: no other
thread is on a call's way. What must be heard while a node runs comes as JSON lines on the standard input and output.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from ..wire.frames import FrameReader, pack
from ..wire.peer import dumps

_TASKS, _ANSWERS = 3, 4
_CHUNK = 1 << 18
#: Seconds without a task after which memory is given back.
QUIET = 30


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


class Tasks:
    """What the main thread has to do, and its answers."""

    def __init__(self, tasks: int = _TASKS, answers: int = _ANSWERS) -> None:
        self._tasks, self._answers = tasks, answers
        #: Called on the main thread when no task has come for `QUIET` seconds.
        self.on_quiet: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        for fd in (tasks, answers):
            os.set_inheritable(fd, False)
            if sys.platform == "win32":
                __import__("msvcrt").setmode(fd, os.O_BINARY)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Header and body of each task, until the bridge closes the link."""
        reader = FrameReader()
        while True:
            self._wait()
            data = os.read(self._tasks, _CHUNK)
            if not data:
                return
            yield from reader.feed(data)

    def _wait(self) -> None:
        if sys.platform != "win32":
            poll = select.poll()
            poll.register(self._tasks, select.POLLIN)
            if not poll.poll(QUIET * 1000):
                self.on_quiet()

    def answer(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Write one answer, or what a running node shows before it."""
        frame = memoryview(pack(header, body))
        with self._lock:
            while frame:
                frame = frame[os.write(self._answers, frame) :]


class Channel:
    """Sends lines; safe for threads. Without `out` nobody listens."""

    def __init__(self, out: BinaryIO | None) -> None:
        self._out, self._lock = out, threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Write one message now."""
        if self._out is None:
            return
        line = dumps(message).encode() + b"\n"
        with self._lock:
            self._out.write(line)
            self._out.flush()

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Write one notification now."""
        self.send({"method": method, "params": params})
