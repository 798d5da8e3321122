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
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from .links import Pipe, Straight
from .node_loop import NodeLoop

_TASKS, _ANSWERS = 3, 4


class Tasks:
    """Every task, and where its answer goes."""

    def __init__(self, tasks: int = _TASKS, answers: int = _ANSWERS) -> None:
        self._pipe = Pipe(tasks, answers)
        #: Runs async nodes while tasks are waited for.
        self.loop = NodeLoop()
        #: Hears of leases of what nodes have shown to a ComfyUI that does not read.
        self.drop: Callable[[list[str]], None] = lambda leases: None
        self._beside: list[Callable[[], None]] = []
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False) if sys.platform != "win32" else None
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

    def beside(self, work: Callable[[], None]) -> None:
        """Any thread: have that done on the main thread, as soon as no node runs there (on Windows: after the next task)."""
        with self._lock:
            self._beside.append(work)
        self._wake_up()

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if sys.platform != "win32":
                os.write(self._woken, b"\0")

    def _do_beside(self) -> None:
        with self._lock:
            todo, self._beside = self._beside, []
        for work in todo:
            try:
                work()
            except Exception:  # noqa: BLE001 - what is done beside the tasks ends none of them
                traceback.print_exc()

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
        self._wake_up()  # links that were accepted here are to be watched

    def _accept(self) -> None:
        self._poll = None
        try:
            while self._listener is not None:
                link = Straight(self._listener.accept()[0], lambda leases: self.drop(leases))
                self._links[link.fd] = link
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # whoever waits there waits until one is free: not at the cost of a core
                time.sleep(0.05)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], bytes, Pipe | Straight]]:
        """Header and body of each task and the source to answer, until the bridge closes its link and what ComfyUI has sent is done."""
        ended = False
        while not (ended and not self._links and not self.loop.calls):
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
                    source.end()
            if self._beside:
                self._do_beside()

    def _ready(self, ended: bool) -> list[Pipe | Straight]:
        """Sources that can be read, the bridge first: what it says of folders goes before the calls that ComfyUI sends then."""
        if sys.platform == "win32":
            if ended:
                self.loop.wait([], self)
            elif self.loop.busy:
                self.loop.wait_until(self._pipe.read_ahead())
            return [] if ended else [self._pipe]
        with self._lock:
            if self._poll is None:
                self._poll = select.poll()
                for fd in self._watched(ended):
                    self._poll.register(fd, select.POLLIN)
            poll = self._poll
        busy = self.loop.busy
        if busy:
            self.loop.wait(self._watched(ended), poll)
        found = {fd for fd, _ in poll.poll(0 if busy else None)}
        if self._wake in found:
            os.read(self._wake, 4096)
        with self._lock:
            sources: list[Pipe | Straight] = [self._pipe] if self._pipe.fd in found else []
            sources += [link for fd, link in self._links.items() if fd in found]
            if len(sources) + (self._wake in found) < len(found):
                self._accept()
            return sources

    def _watched(self, ended: bool) -> list[int]:
        listener = [] if self._listener is None else [self._listener.fileno()]
        return [self._wake, *self._links, *listener] if ended else [self._pipe.fd, self._wake, *listener, *self._links]
