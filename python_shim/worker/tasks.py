"""What the main thread has to do: tasks of the bridge, on a descriptor that no print can reach, and calls that ComfyUI sends straight
to this process, on a Unix socket. The main thread reads and answers both itself: no other thread is on a call's way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from ..wire.frames import FrameReader, pack

_TASKS, _ANSWERS = 3, 4
_CHUNK = 1 << 18
#: ComfyUI has not read what was sent to it, when the worker ends: it is waited for this long, in seconds.
_LAST_WRITES = 1.0


class Pipe:
    """The bridge's tasks, and their answers. The bridge always reads."""

    def __init__(self, tasks: int, answers: int) -> None:
        self.fd, self._answers = tasks, answers
        self.reader = FrameReader()
        self._lock = threading.Lock()
        for fd in (tasks, answers):
            os.set_inheritable(fd, False)
            if sys.platform == "win32":
                __import__("msvcrt").setmode(fd, os.O_BINARY)

    def read(self) -> bytes:
        """What has come; nothing at the end."""
        return os.read(self.fd, _CHUNK)

    def answer(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Write one answer."""
        frame = memoryview(pack(header, body))
        with self._lock:
            while frame:
                frame = frame[os.write(self._answers, frame) :]

    def note(self, task: int, note: dict[str, Any]) -> None:
        """Write what a running node shows before its answer."""
        self.answer({"id": task, **note})


class Straight:
    """A connection of ComfyUI. It may not read for minutes, while a node of its own runs: no node here waits for that."""

    def __init__(self, link: socket.socket) -> None:
        self._link, self.fd = link, link.fileno()
        self.reader = FrameReader()
        self._lock = threading.Lock()
        self._unsent = bytearray()
        self._writer: threading.Thread | None = None

    def read(self) -> bytes:
        """What has come; nothing at the end."""
        try:
            return self._link.recv(_CHUNK)
        except ConnectionError:
            return b""

    def answer(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Write one answer, or leave it to a thread if it does not go now. If ComfyUI has gone, nobody wants it."""
        frame = pack(header, body)
        with self._lock:
            sent = 0
            if not self._unsent:
                with contextlib.suppress(BlockingIOError):
                    try:
                        sent = self._link.send(frame, socket.MSG_DONTWAIT)
                    except ConnectionError:
                        return
            if sent < len(frame):
                self._unsent += frame[sent:]
                if self._writer is None:
                    self._writer = threading.Thread(target=self._write, name="envmanager-write", daemon=True)
                    self._writer.start()

    def note(self, task: int, note: dict[str, Any]) -> None:
        """Write what a running node shows before its answer."""
        self.answer(note)

    def _write(self) -> None:
        while True:
            with self._lock:
                data = bytes(self._unsent[:_CHUNK])
                if not data:
                    self._writer = None
                    return
            try:
                sent = self._link.send(data)
            except OSError:
                sent = len(self._unsent)
            with self._lock:
                del self._unsent[:sent]

    def refuse(self) -> None:
        """Take no more: what was sent before can still be read, and sending fails from now on (`unix_stream_sendmsg` of Linux)."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """After the last answer."""
        writer = self._writer
        if writer is not None:
            writer.join(_LAST_WRITES)
        self._link.close()


class Tasks:
    """Every task, and where its answer goes."""

    def __init__(self, tasks: int = _TASKS, answers: int = _ANSWERS) -> None:
        self._pipe = Pipe(tasks, answers)
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._links: dict[int, Straight] = {}
        self._poll: Any = None  # anew after each change

    def listen(self, path: str) -> None:
        """Take calls of ComfyUI there. Linux; on the main thread."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen()
        listener.setblocking(False)
        self._listener, self._poll = listener, None

    def close(self) -> None:
        """Take no more calls of ComfyUI; those that it has sent are done. On any thread: it ends the main thread's waiting too."""
        with self._lock:
            if self._listener is None:
                return
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RD)  # from now on nobody connects (`unix_stream_connect`); who has, is accepted
            self._accept()
            self._listener.close()
            self._listener = None
            for link in self._links.values():
                link.refuse()

    def _accept(self) -> None:
        self._poll = None
        try:
            while self._listener is not None:
                link = Straight(self._listener.accept()[0])
                self._links[link.fd] = link
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # whoever waits there waits until one is free: not at the cost of a core
                time.sleep(0.05)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], bytes, Pipe | Straight]]:
        """Header and body of each task and the source to answer, until the bridge closes its link and what ComfyUI has sent is done."""
        ended = False
        while not (ended and not self._links):
            for source in self._ready(ended):
                data = source.read()
                if data:
                    for header, body in source.reader.feed(data):
                        yield header, body, source
                elif isinstance(source, Pipe):
                    ended, self._poll = True, None
                    self.close()
                else:
                    with self._lock:
                        del self._links[source.fd]
                        self._poll = None
                    source.close()

    def _ready(self, ended: bool) -> list[Pipe | Straight]:
        """Sources that can be read, the bridge first: what it says of folders goes before the calls that ComfyUI sends then."""
        if sys.platform == "win32":
            return [self._pipe]
        with self._lock:
            if self._poll is None:
                self._poll = select.poll()
                for fd in self._watched(ended):
                    self._poll.register(fd, select.POLLIN)
            poll = self._poll
        found = {fd for fd, _ in poll.poll()}
        with self._lock:
            if not found <= self._links.keys() | {self._pipe.fd}:
                self._accept()
            return [source for source in (self._pipe, *self._links.values()) if source.fd in found]

    def _watched(self, ended: bool) -> list[int]:
        listener = [] if self._listener is None else [self._listener.fileno()]
        return [*self._links, *listener] if ended else [self._pipe.fd, *listener, *self._links]
