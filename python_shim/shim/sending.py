"""Sends a call: straight to its worker's process where there is a way, else through the bridge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..wire.frames import pack
from ..wire.segments import owner_of
from .connecting import Unsent

if TYPE_CHECKING:
    from .asking import Asking
    from .call import Call
    from .calls import Calls
    from .lane import Lane


class Sender:
    """Decides the way of each call, and what is told beside it."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._prompt: str | None = None

    def send(self, asking: Asking, lane: Lane, loop: asyncio.AbstractEventLoop) -> Lane:
        """Send a call; the connection that brings its answer. `lane` leads to the bridge. Raises Unsent if it went nowhere."""
        call = asking.call
        call.lane = lane
        self._tell_folders(lane, call)
        call.loan.send()
        try:
            return self._straight(asking, lane, loop) or self._through(asking, lane)
        except BaseException:
            call.loan.unsent()
            raise

    def _straight(self, asking: Asking, lane: Lane, loop: asyncio.AbstractEventLoop) -> Lane | None:
        """Send a call to its worker's process itself; the connection that it went. None if there is no way: through the bridge then."""
        calls, call = self._calls, asking.call
        way = calls.ways.of(call)
        if way is None or calls.lanes is None:
            return None
        try:
            straight = calls.lanes.straight(loop, way)
        except BlockingIOError:
            return None  # its kernel has too many that wait
        except OSError:
            return calls.ways.close(way.owner)
        if straight.full:
            return None
        released = calls.mapped.let_go()
        own = [name for name in released if owner_of(name) == way.owner]
        beside = call.beside = calls.beside.take([name for name in released if owner_of(name) != way.owner] if own else released)
        try:
            sent = calls.ways.ask(call, lane, straight, asking.waiter, beside, own, lambda: asking.again(lambda: self._again(asking, lane)))
        except OSError as error:
            raise self._unsent(lane, call, own) from error
        call.beside = {}
        if not sent:
            calls.mapped.copied(own)  # to be told through the bridge
            return None
        call.straight = straight
        return straight

    def _again(self, asking: Asking, lane: Lane) -> None:
        asking.call.loan.send()
        self._through(asking, lane)

    def _through(self, asking: Asking, lane: Lane) -> Lane:
        call = asking.call
        call.beside = self._calls.beside.take()
        try:
            lane.ask({**call.header, **call.beside}, call.body, asking.waiter)
        except OSError as error:
            raise self._unsent(lane, call, []) from error
        except BaseException:
            self._calls.beside.put_back(call.beside)
            raise
        return lane

    def _unsent(self, lane: Lane, call: Call, own: list[str]) -> Unsent:
        lane.close()
        self._calls.beside.put_back(call.beside)
        self._calls.mapped.copied(own)
        return Unsent()

    def _tell_folders(self, lane: Lane, call: Call) -> None:
        """Once a prompt. What has changed goes through the bridge to all workers, and so the next call of each."""
        if call.prompt is not None and call.prompt != self._prompt:
            self._prompt = call.prompt
            folders = self._calls.changed_folders()
            if folders is not None:
                self._calls.ways.forget()
                lane.tell(pack({"folders": folders}))
