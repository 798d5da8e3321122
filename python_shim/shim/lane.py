"""One connection of the call path, and who waits on it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

from ..wire.errors import CodedError
from ..wire.frames import FrameReader, pack
from . import log
from .connecting import Unsent, lost

_CHUNK = 1 << 18
_can_poll = hasattr(select, "poll")  # it takes descriptors beyond 1024, which select does not


class Waiter:
    """One call's answer: `done(header, body, error)` runs once, on the thread that reads it. `error` is `Unsent` if nobody has the call."""

    __slots__ = ("done",)

    def __init__(self, done: Callable[[dict[str, Any], bytes, CodedError | None], None]) -> None:
        self.done = done


class Lane:
    """One connection, to a worker's process (`way`) or to the bridge. `loop` reads it, or who waits in `wait`; another may take over."""

    def __init__(self, link: socket.socket, on_told: Callable[[dict[str, Any]], None], way: Any = None) -> None:
        self.link, self._on_told = link, on_told
        self.way: Any = way
        self.loop: asyncio.AbstractEventLoop | None = None
        self.waiting: dict[int, Waiter] = {}
        self.dead = False
        self._numbers = itertools.count(1)
        self._reader = FrameReader()
        #: What is not written yet, each with the number of the call that it is the rest of.
        self._unsent: collections.deque[tuple[Any, int | None]] = collections.deque()
        self._cut = False
        self._lock = threading.Lock()
        self._reading = threading.RLock()
        #: The loops that watch the socket: more than one while it changes hands.
        self._watching: set[asyncio.AbstractEventLoop] = set()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on `loop` reads; on its thread. Raises NotImplementedError on loops that cannot watch a socket (Windows' proactor)."""
        try:
            loop.add_reader(self.link.fileno(), self._readable)
        except ValueError:  # it has been closed
            return
        self._watching.add(loop)
        before, self.loop = self.loop, loop
        if before is not None and before is not loop:
            self._unwatch(before)
        if self._unsent:
            self._watch_writable()

    def detach(self) -> None:
        """The loop that reads lets go."""
        before, self.loop = self.loop, None
        if before is not None:
            self._unwatch(before)

    def _unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        """On that loop's thread: no other may touch what it watches."""
        if asyncio.events._get_running_loop() is loop:
            return self._let_go(loop)
        try:
            loop.call_soon_threadsafe(self._let_go, loop)
        except RuntimeError:  # it has ended, and watches nothing
            self._watched_no_more(loop)

    def _let_go(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.loop is loop and not self.dead:
            return  # it has it again
        if loop in self._watching and not loop.is_closed():
            loop.remove_reader(self.link.fileno())
            loop.remove_writer(self.link.fileno())
        self._watched_no_more(loop)

    def _watched_no_more(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watching.discard(loop)
        if self.dead and not self._watching:
            self.link.close()  # not before: a loop would watch whatever gets the descriptor's number next

    def usable(self) -> bool:
        """Whether the other end is still there, for a connection that nobody has read for a while."""
        if not self.dead:
            self._readable()
        return not self.dead

    def ask(self, header: dict[str, Any], body: bytes, waiter: Waiter) -> int:
        """Send a call; its number here. Raises OSError if the other end has gone before any of it was sent."""
        number = next(self._numbers)
        frame = pack({**header, "id": number}, body)
        self.waiting[number] = waiter
        try:
            self.send(frame, number)
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

    def tell(self, data: bytes) -> bool:
        """Write a frame. False: nobody is there to read it."""
        try:
            self.send(data)
        except OSError:
            return False
        return True

    def send(self, data: bytes, number: int | None = None) -> None:
        """Write a frame, or as much of it as goes now. Raises OSError if nothing of it went and nothing will."""
        with self._lock:
            if self.dead or self._cut:
                raise BrokenPipeError("the other end has gone")
            sent = 0
            if not self._unsent:
                with contextlib.suppress(BlockingIOError):
                    sent = self.link.send(data)
                if sent == len(data):
                    return
            self._unsent.append((memoryview(data)[sent:], number))
        loop = self.loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # that loop has ended: the next one writes the rest
                loop.call_soon_threadsafe(self._watch_writable)

    def _watch_writable(self) -> None:
        loop = asyncio.events._get_running_loop()
        if loop is not None and self.loop is loop and not self.dead and self._unsent:
            loop.add_writer(self.link.fileno(), self._writable)

    def _writable(self) -> None:
        with self._lock:
            cut = not self._write()
        if cut:
            self._cut_off()
        loop = asyncio.events._get_running_loop()
        if not self._unsent and loop is not None and loop is self.loop:
            loop.remove_writer(self.link.fileno())

    def _write(self) -> bool:
        """False: the other end takes no more. What it has taken whole, it answers."""
        while self._unsent and not self.dead:
            rest, number = self._unsent[0]
            try:
                sent = self.link.send(rest)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if sent == len(rest):
                self._unsent.popleft()
            else:
                self._unsent[0] = (rest[sent:], number)
        return True

    def _cut_off(self) -> None:
        """Calls that were not written as a whole were not delivered. The others are still answered here."""
        with self._lock:
            self._cut = True
            numbers = [number for _, number in self._unsent]
            self._unsent.clear()
        for number in numbers:
            waiter = None if number is None else self.waiting.pop(number, None)
            if waiter is not None:
                self._done(waiter, {}, b"", Unsent())

    def wait(self, seconds: float) -> None:
        """Read what comes within `seconds`, on this thread."""
        if self._unsent:
            self._is_ready(seconds, writing=True)
            self._writable()
        if self._is_ready(seconds):
            self._readable()

    def _is_ready(self, seconds: float, writing: bool = False) -> bool:
        if self.dead:
            return False
        if not _can_poll:
            wanted: tuple[list[Any], list[Any]] = ([], [self.link]) if writing else ([self.link], [])
            return any(select.select(*wanted, [], seconds))
        poll = select.poll()
        poll.register(self.link, select.POLLOUT if writing else select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _readable(self) -> None:
        if not self._reading.acquire(blocking=False):
            return  # another thread reads just now
        try:
            self._read()
        finally:
            self._reading.release()

    def _read(self) -> None:
        try:
            data = self.link.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            return self.close()
        frames, broken = [], False
        try:
            for frame in self._reader.feed(data):
                frames.append(frame)  # noqa: PERF402 - those before one that is none count
        except ValueError:
            broken = True  # no frames: nothing after that can be read
        raised: list[BaseException] = []
        for header, body in frames:
            try:
                self._take(header, body)
            except BaseException as error:  # noqa: BLE001 - Ctrl-C and its like: the frames behind it are heard first
                raised.append(error)
        if broken:
            self.close()
        if raised:
            raise raised[0]

    def _take(self, header: Any, body: bytes) -> None:
        """One frame. Whatever its hearing raises: an answer is taken."""
        if not isinstance(header, dict):
            return
        is_note = "progress" in header or "event" in header or "started" in header
        try:
            if is_note or "released" in header:
                self._on_told(header)
        except Exception:
            log.exception("comfyui-envmanager: what a worker told was not understood")
        finally:
            waiter = self.waiting.pop(header.get("id", 0), None)
            if waiter is not None and not is_note:
                self._done(waiter, header, body, None)

    def _done(self, waiter: Waiter, header: dict[str, Any], body: bytes, error: CodedError | None) -> None:
        try:
            waiter.done(header, body, error)
        except Exception:
            log.exception("comfyui-envmanager: an answer was not taken")

    def close(self) -> None:
        """The other end has gone: every call here fails."""
        with self._lock:
            if self.dead:
                return
            self.dead = True
        self._cut_off()
        with contextlib.suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)
        self.loop = None
        for loop in list(self._watching):
            self._unwatch(loop)
        if not self._watching:
            self.link.close()
        waiting, self.waiting = list(self.waiting.values()), {}
        for waiter in waiting:
            self._done(waiter, {}, b"", lost())
