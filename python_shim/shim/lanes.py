"""The call path's connections, to the bridge and to workers: for each event loop that calls its own, read by that loop itself, so that
no thread stands between a node and its answer. ComfyUI makes a new loop for every prompt; a connection outlives it and serves the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..wire.errors import CodedError
from ..wire.frames import FrameReader, pack
from .connecting import connect, connect_straight, lost, not_running

if TYPE_CHECKING:
    from .ways import Way

_CHUNK = 1 << 18


class Waiter:
    """One call's answer: `done(header, body, error)` runs once, on the thread that reads it."""

    __slots__ = ("done",)

    def __init__(self, done: Callable[[dict[str, Any], bytes, CodedError | None], None]) -> None:
        self.done = done


class Lane:
    """One connection, to a worker's process (`way`) or to the bridge. It is read by `loop`, or by whoever waits in `wait`."""

    def __init__(self, link: socket.socket, on_told: Callable[[dict[str, Any]], None], way: Any = None) -> None:
        self.link, self._on_told = link, on_told
        self.way: Any = way
        self.loop: asyncio.AbstractEventLoop | None = None
        self.waiting: dict[int, Waiter] = {}
        self.dead = False
        self._numbers = itertools.count(1)
        self._reader = FrameReader()
        self._unsent = b""
        self._lock = threading.Lock()
        self._poll = select.poll() if hasattr(select, "poll") else None  # it takes descriptors beyond 1024
        if self._poll is not None:
            self._poll.register(link, select.POLLIN)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on `loop` reads. Raises NotImplementedError on loops that cannot watch a socket (Windows' proactor)."""
        loop.add_reader(self.link.fileno(), self._readable)
        self.loop = loop
        if self._unsent:
            self._watch_writable()

    def detach(self) -> None:
        """The loop that reads lets go; on its own thread."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.remove_reader(self.link.fileno())
            self.loop.remove_writer(self.link.fileno())
        self.loop = None

    def usable(self) -> bool:
        """Whether the other end is still there, for a connection that nobody has read for a while."""
        if self.dead:
            return False
        self._readable()
        return not self.dead

    def ask(self, header: dict[str, Any], body: bytes, waiter: Waiter) -> int:
        """Send a call; its number here. Raises BrokenPipeError if the other end has gone before it was sent."""
        number = next(self._numbers)
        self.waiting[number] = waiter
        try:
            self.send(pack({**header, "id": number}, body))
        except BaseException:
            self.waiting.pop(number, None)
            raise
        return number

    def forget(self, number: int) -> None:
        """No answer to that call is waited for here any more."""
        self.waiting.pop(number, None)

    @property
    def full(self) -> bool:
        """Whether a call could not be sent at once."""
        return bool(self._unsent)

    def tell(self, data: bytes) -> None:
        """Write a frame, if anybody is there to read it."""
        with contextlib.suppress(OSError):
            self.send(data)

    def send(self, data: bytes) -> None:
        """Write a frame, or as much of it as goes now."""
        with self._lock:
            if self._unsent:
                self._unsent += data
                return
            sent = 0
            try:
                sent = self.link.send(data)
            except BlockingIOError:
                pass
            if sent == len(data):
                return
            self._unsent = data[sent:]
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):  # that loop has ended: the next one writes the rest
                self.loop.call_soon_threadsafe(self._watch_writable)

    def _watch_writable(self) -> None:
        if self.loop is not None and not self.dead:
            self.loop.add_writer(self.link.fileno(), self._writable)

    def _writable(self) -> None:
        with self._lock:
            try:
                self._unsent = self._unsent[self.link.send(self._unsent) :]
            except BlockingIOError:
                return
            except OSError:
                self._unsent = b""  # the reader sees the end of the connection too
        if not self._unsent and self.loop is not None:
            self.loop.remove_writer(self.link.fileno())

    def wait(self, seconds: float) -> None:
        """Read what comes within `seconds`, on this thread."""
        if self._unsent:
            select.select([], [self.link], [], seconds)
            self._writable()
        if self._poll is None:
            ready = select.select([self.link], [], [], seconds)[0]
        else:
            ready = self._poll.poll(seconds * 1000)
        if ready:
            self._readable()

    def _readable(self) -> None:
        try:
            data = self.link.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            return self.close()
        for header, body in self._frames(data):
            if "released" in header or "progress" in header or "event" in header:
                self._on_told(header)
            waiter = self.waiting.pop(header.get("id", 0), None)
            if waiter is not None:
                waiter.done(header, body, None)

    def _frames(self, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        try:
            yield from self._reader.feed(data)
        except ValueError:  # no frames: nothing after that can be read
            self.close()

    def close(self) -> None:
        """The other end has gone: every call here fails."""
        if self.dead:
            return
        self.dead = True
        self.detach()
        self.link.close()
        waiting, self.waiting = list(self.waiting.values()), {}
        for waiter in waiting:
            waiter.done({}, b"", lost())


class Lanes:
    """Finds the connection for whoever calls. `background` is a loop that reads connections that no caller reads any more."""

    def __init__(
        self, connection: Callable[[], dict[str, Any]], on_told: Callable[[dict[str, Any]], None], background: asyncio.AbstractEventLoop
    ) -> None:
        self._connection, self._on_told, self._background = connection, on_told, background
        self._lock = threading.Lock()
        self._lanes: list[Lane] = []

    def of(self, loop: asyncio.AbstractEventLoop, way: Way | None = None) -> Lane:
        """The connection that this running loop reads. Raises CONNECTION_LOST if there is no bridge, OSError if a `way` leads nowhere."""
        with self._lock:
            for lane in self._lanes:
                if lane.loop is loop and lane.way == way and not lane.dead:
                    return lane
            lane = self._take(way) or self._make(way)
            try:
                lane.attach(loop)
            except NotImplementedError:
                lane.loop = self._background
                self._background.call_soon_threadsafe(lane.attach, self._background)
        return lane

    def tell(self, data: bytes) -> None:
        """Write a frame to the bridge, on the background's thread. Raises CONNECTION_LOST if there is no bridge.

        On whatever connection there is, and none is taken for it: the next prompt needs it, and a bridge that hangs takes no new one.
        """
        with self._lock:
            lane = next((lane for lane in self._lanes if lane.way is None and not lane.dead), None)
        (lane or self.of(self._background)).tell(data)

    def abandon(self, lane: Lane) -> None:
        """A call's answer is not waited for any more, on the reading loop's thread: someone must still take it and free its memory."""
        if lane.dead or lane.loop is self._background:
            return
        lane.detach()
        lane.loop = self._background
        self._background.call_soon_threadsafe(self._adopt, lane)

    def _adopt(self, lane: Lane) -> None:
        if not lane.dead:
            lane.attach(self._background)
            lane._readable()

    def _take(self, way: Way | None) -> Lane | None:
        """A connection whose loop has ended with its prompt."""
        for lane in list(self._lanes):
            if lane.dead:
                self._lanes.remove(lane)
            elif lane.loop is None or lane.loop.is_closed():
                lane.loop = None
                if not lane.usable():
                    self._lanes.remove(lane)
                elif lane.way == way:
                    return lane
        return None

    def _make(self, way: Way | None) -> Lane:
        if way is not None:
            lane = Lane(connect_straight(way), self._on_told, way)
            self._lanes.append(lane)
            return lane
        try:
            lane = Lane(connect(self._connection()), self._on_told)
        except (OSError, ValueError, KeyError) as error:
            raise not_running(error) from error
        self._lanes.append(lane)
        return lane

    def close(self) -> None:
        """The bridge has gone: calls that wait must not wait for the kernel to say so."""
        with self._lock:
            lanes, self._lanes = self._lanes, []
        for lane in lanes:
            loop = lane.loop
            if loop is None or loop.is_closed():
                continue
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lane._readable)
