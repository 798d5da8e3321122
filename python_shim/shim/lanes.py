"""The call path's connections, to the bridge and to workers: for each event loop that calls its own, read by that loop itself, so that
no thread stands between a node and its answer. ComfyUI makes a new loop for every prompt; a connection outlives it and serves the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any

from .connecting import connect, connect_straight, not_running
from .lane import Lane

if TYPE_CHECKING:
    from .ways import Way

#: So many connections are kept that no loop needs now: the next prompt takes one of them.
MOST_IDLE = 4
#: A connection that was made for a loop may be taken by another: it is tried again so often.
_TRIES = 8


class Lanes:
    """Finds the connection for whoever calls. `background` is a loop that reads connections whose own has ended: calls may still be
    answered there, and their memory has to be taken. Any other loop may take it over again.
    """

    def __init__(
        self, connection: Callable[[], dict[str, Any]], on_told: Callable[[dict[str, Any]], None], background: asyncio.AbstractEventLoop
    ) -> None:
        self._connection, self._on_told, self._background = connection, on_told, background
        self._lock = threading.Lock()
        self._lanes: list[Lane] = []
        self._connecting: Future[None] | None = None

    def find(self, loop: asyncio.AbstractEventLoop, way: Way | None = None) -> Lane | None:
        """The connection that this running loop reads; one that no loop of its own reads becomes that."""
        while True:
            with self._lock:
                lane = self._own(loop, way)
                if lane is not None:
                    return lane
                lane = self._taken(loop, way)
            if lane is None or lane.usable():
                return lane

    def _own(self, loop: asyncio.AbstractEventLoop, way: Way | None) -> Lane | None:
        return next((lane for lane in self._lanes if lane.loop is loop and lane.way == way and not lane.dead), None)

    def _taken(self, loop: asyncio.AbstractEventLoop, way: Way | None) -> Lane | None:
        self._lanes = [lane for lane in self._lanes if not lane.dead]
        for lane in self._lanes:
            if lane.way == way and (lane.loop is None or lane.loop is self._background or lane.loop.is_closed()):
                self._attach(lane, loop)
                return lane
        return None

    def _attach(self, lane: Lane, loop: asyncio.AbstractEventLoop) -> None:
        try:
            lane.attach(loop)
        except NotImplementedError:  # Windows' proactor watches no sockets
            if lane.loop is not self._background:
                lane.loop = self._background
                self._background.call_soon_threadsafe(lane.attach, self._background)

    async def bridge(self, loop: asyncio.AbstractEventLoop) -> Lane:
        """The loop's connection to the bridge. Raises CONNECTION_LOST if there is no bridge."""
        for _ in range(_TRIES):
            lane = self.find(loop)
            if lane is not None:
                return lane
            await asyncio.shield(asyncio.wrap_future(self._connect()))
        raise not_running(OSError("its connections were lost"))

    def straight(self, loop: asyncio.AbstractEventLoop, way: Way) -> Lane:
        """The loop's connection to a worker's process. Raises OSError if the way leads nowhere now: its kernel answers at once."""
        lane = self.find(loop, way)
        if lane is None:
            lane = Lane(connect_straight(way), self._on_told, way)
            with self._lock:
                self._lanes.append(lane)
                self._attach(lane, loop)
        return lane

    def _connect(self) -> Future[None]:
        """One more connection to the bridge, made beside every loop: a bridge that hangs answers late. Whoever wants one shares it."""
        with self._lock:
            if self._connecting is not None and not self._connecting.done():
                return self._connecting
            future: Future[None] = Future()
            self._connecting = future
        threading.Thread(target=self._make, args=(future,), name="envmanager-connect", daemon=True).start()
        return future

    def _make(self, future: Future[None]) -> None:
        try:
            lane = Lane(connect(self._connection()), self._on_told)
            with self._lock:
                self._lanes.append(lane)
        except (OSError, ValueError, KeyError) as error:
            with contextlib.suppress(InvalidStateError):
                future.set_exception(not_running(error))
        else:
            with contextlib.suppress(InvalidStateError):
                future.set_result(None)

    def tell(self, data: bytes) -> bool:
        """Write a frame to the bridge, on whatever connection there is; one is made if there is none. False: not now.

        None is taken for it: the next prompt needs it, and a bridge that hangs takes no new one.
        """
        with self._lock:
            lanes = [lane for lane in self._lanes if lane.way is None and not lane.dead]
        if any(lane.tell(data) for lane in lanes):
            return True
        self._connect().add_done_callback(lambda made: made.cancelled() or made.exception())
        return False

    def sweep(self) -> None:
        """On the background's thread: read what nobody reads any more, and close what nobody will need."""
        with self._lock:
            self._lanes = [lane for lane in self._lanes if not lane.dead]
            for lane in self._lanes:
                if lane.loop is None or lane.loop.is_closed():
                    lane.attach(self._background)
            idle = [lane for lane in self._lanes if lane.loop is self._background and not lane.waiting and not lane.full]
            spare = idle[: max(0, len(idle) - MOST_IDLE)]
            self._lanes = [lane for lane in self._lanes if lane not in spare]
        for lane in spare:
            lane.close()
