"""The two kinds of links by which tasks come, and answers go: the bridge's pipe, and connections of ComfyUI."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..wire.frames import FrameReader, pack
from . import forks

_CHUNK = 1 << 18
#: ComfyUI has not read what was sent to it, when the worker ends: it is waited for this long, in seconds.
_LAST_WRITES = 1.0
#: So much of what nodes show may wait for a ComfyUI that does not read; what is more is not shown.
_MOST_UNSENT = 32 << 20


class Pipe:
    """The bridge's tasks, and their answers. The bridge always reads."""

    def __init__(self, tasks: int, answers: int) -> None:
        self.fd, self._answers = tasks, answers
        self.reader = FrameReader()
        self._lock = threading.Lock()
        self._reading: Future[bytes] | None = None
        for fd in (tasks, answers):
            os.set_inheritable(fd, False)
            if sys.platform == "win32":
                __import__("msvcrt").setmode(fd, os.O_BINARY)

    def read(self) -> bytes:
        """What has come; nothing at the end."""
        if self._reading is None:
            return os.read(self.fd, _CHUNK)
        reading, self._reading = self._reading, None
        return reading.result()

    def read_ahead(self) -> Future[bytes]:
        """What `read` will return, read on a thread."""
        if self._reading is None:
            self._reading = Future()
            threading.Thread(target=self._read_ahead, args=(self._reading,), name="envmanager-tasks", daemon=True).start()
        return self._reading

    def _read_ahead(self, reading: Future[bytes]) -> None:
        try:
            reading.set_result(os.read(self.fd, _CHUNK))
        except OSError:
            reading.set_result(b"")

    def answer(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Write one answer."""
        if forks.is_child():
            return
        frame = memoryview(pack(header, body))
        with self._lock:
            while frame:
                frame = frame[os.write(self._answers, frame) :]

    def note(self, task: int, note: dict[str, Any], leases: list[str]) -> None:
        """Write what a running node shows before its answer."""
        self.answer({"id": task, **note})

    def put_off(self) -> None:
        """An answer comes later."""

    def done(self) -> None:
        """An answer that was put off has been given."""


class Straight:
    """A connection of ComfyUI. It may not read for minutes, while a node of its own runs: no node here waits for that.

    `drop` hears of leases of what was not sent.
    """

    def __init__(self, link: socket.socket, drop: Callable[[list[str]], None] = lambda leases: None) -> None:
        self._link, self.fd, self._drop = link, link.fileno(), drop
        self.reader = FrameReader()
        self._lock = threading.Lock()
        #: What has begun to be written, and what comes after it: frames by what they are. A newer note of progress replaces an older.
        self._begun: tuple[bytes, list[str]] = (b"", [])
        self._unsent: dict[Any, tuple[bytes, list[str]]] = {}
        self._bytes = 0
        self._numbers = 0
        self._writer: threading.Thread | None = None
        self._open, self._ended = 0, False

    def read(self) -> bytes:
        """What has come; nothing at the end."""
        try:
            return self._link.recv(_CHUNK)
        except ConnectionError:
            return b""

    def answer(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Write one answer, or leave it to a thread if it does not go now. If ComfyUI has gone, nobody wants it."""
        self._send(pack(header, body), None, [])

    def note(self, task: int, note: dict[str, Any], leases: list[str]) -> None:
        """Write what a running node shows before its answer. Of its progress, the newest."""
        self._send(pack(note), ("progress", task) if "progress" in note else "event", leases)

    def _send(self, frame: bytes, kind: Any, leases: list[str]) -> None:
        if forks.is_child():
            return
        with self._lock:
            sent = 0 if self._begun[0] or self._unsent else self._try(frame)
            if sent == len(frame):
                return
            dropped = self._keep(frame, sent, kind, leases)
        if dropped:
            self._drop(dropped)

    def _keep(self, frame: bytes, sent: int | None, kind: Any, leases: list[str]) -> list[str]:
        """Put the rest of it where it waits. Leases of what will not be sent."""
        if sent is None:
            return leases
        if kind == "event" and self._bytes > _MOST_UNSENT:
            return leases
        dropped: list[str] = []
        if sent:
            self._begun = (frame[sent:], leases)
        else:
            dropped = self._put(frame, kind, leases)
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="envmanager-write", daemon=True)
            self._writer.start()
        return dropped

    def _try(self, frame: bytes) -> int | None:
        """How much of it could be written now; None: nobody is there."""
        try:
            return self._link.send(frame, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except ConnectionError:
            return None

    def _put(self, frame: bytes, kind: Any, leases: list[str]) -> list[str]:
        if not isinstance(kind, tuple):
            self._numbers += 1
            kind = self._numbers
        older, dropped = self._unsent.pop(kind, (b"", []))
        self._unsent[kind] = (frame, leases)
        self._bytes += len(frame) - len(older)
        return dropped

    def _write(self) -> None:
        while True:
            with self._lock:
                if not self._begun[0]:
                    if not self._unsent:
                        self._writer = None
                        return
                    self._begun = self._unsent.pop(next(iter(self._unsent)))
                    self._bytes -= len(self._begun[0])
                data, leases = self._begun
            try:
                sent = self._link.send(data[:_CHUNK])
            except OSError:
                return self._lose()
            with self._lock:
                self._begun = (data[sent:], leases)

    def _lose(self) -> None:
        """Nobody reads any more."""
        with self._lock:
            lost = [self._begun, *self._unsent.values()]
            self._begun, self._unsent, self._bytes, self._writer = (b"", []), {}, 0, None
        for _, leases in lost:
            self._drop(leases)

    def refuse(self) -> None:
        """Take no more: what was sent before can still be read, and sending fails from now on (`unix_stream_sendmsg` of Linux)."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RD)

    def put_off(self) -> None:
        """An answer comes later."""
        self._open += 1

    def done(self) -> None:
        """An answer that was put off has been given."""
        self._open -= 1
        if self._ended and self._open == 0:
            self._close()

    def end(self) -> None:
        """All of it was read: it is closed after the last answer."""
        self._ended = True
        if self._open == 0:
            self._close()

    def _close(self) -> None:
        writer = self._writer
        if writer is not None:
            writer.join(_LAST_WRITES)
        self._link.close()
