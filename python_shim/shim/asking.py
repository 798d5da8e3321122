"""Waiting for a call's answer: until it comes, the user cancels, its time is up, or whoever waits goes away."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..wire.errors import CodedError
from ..wire.frames import pack
from .lane import Lane, Waiter

if TYPE_CHECKING:
    from .call import Call
    from .calls import Calls

#: How often a waiting call looks whether the user has pressed Cancel, in seconds.
POLL = 0.05
_NOBODY = Waiter(lambda header, body, error: None)


class Asking:
    """One call that is waited for, by one event loop."""

    def __init__(self, calls: Calls, call: Call, loop: asyncio.AbstractEventLoop, timeout: float | None) -> None:
        self._calls, self.call, self._loop, self._timeout = calls, call, loop, timeout
        self.future: asyncio.Future[tuple[dict[str, Any], bytes]] = loop.create_future()
        self.waiter = Waiter(self._answered)
        self._given_up = False
        #: Only what runs for a prompt is cancelled with it: a check of inputs would take the running prompt's Cancel away.
        self.is_of_prompt = call.prompt is not None and call.method != "VALIDATE_INPUTS"
        self._timers: list[asyncio.TimerHandle] = []
        if timeout is not None:
            call.ask_for_start()

    def watch(self) -> None:
        """Look for a Cancel every now and then: ComfyUI does not bring it to async nodes by itself."""
        if self.is_of_prompt:
            self._timers = [self._loop.call_later(POLL, self._look)]

    def end(self) -> None:
        """Nobody waits any more."""
        for timer in self._timers:
            timer.cancel()
        self.waiter = _NOBODY  # a cycle would keep the call's inputs until the garbage collector comes

    def cancelled(self) -> None:
        """Whoever waits is cancelled; the answer may be there already."""
        if self.future.done() and not self.future.cancelled() and self.future.exception() is None:
            self.call.discard(*self.future.result(), None)
        elif not self.future.done() or self.future.cancelled():
            self._give_up()

    def stop(self, error: BaseException) -> None:
        """The caller gets `error`, and the worker is asked to end the call."""
        if not self.future.done():
            self._give_up()
            self.future.set_exception(error)

    def started(self) -> None:
        """Its node runs now, on whatever thread that is heard: its time counts from here."""
        if self._timeout is not None:
            try:
                self._loop.call_soon_threadsafe(self._count)
            except RuntimeError:  # that loop has ended, and with it the wait
                return

    def _count(self) -> None:
        if self._timeout is not None and not self.future.done():
            late = f"The node did not end within {self._timeout:g} s and was cancelled."
            self._timers.append(self._loop.call_later(self._timeout, lambda: self.stop(asyncio.TimeoutError(late))))

    def _look(self) -> None:
        if self.future.done():
            return
        interrupt = interrupted()
        if interrupt is None:
            self._timers[0] = self._loop.call_later(POLL, self._look)
        else:
            self._calls.interrupt(self._loop, interrupt)

    def _give_up(self) -> None:
        """Nobody waits for the answer. Whoever reads it takes its memory."""
        self._given_up = True
        self._calls.cancel(self.call)

    def _answered(self, header: dict[str, Any], body: bytes, error: CodedError | None) -> None:
        if self._given_up:
            return self.call.discard(header, body, error)
        if asyncio.events._get_running_loop() is self._loop:
            return self._settle(header, body, error)
        try:  # read in the background
            self._loop.call_soon_threadsafe(self._settle, header, body, error)
        except RuntimeError:  # the prompt's loop has ended
            self.call.discard(header, body, error)

    def _settle(self, header: dict[str, Any], body: bytes, error: CodedError | None) -> None:
        if self.future.done():
            self.call.discard(header, body, error)
        elif error is not None:
            self.call.failed(error)
            self.future.set_exception(error)
        else:
            self.future.set_result((header, body))

    def again(self, send: Callable[[], None]) -> None:
        """A straight call turned out not to have been taken: `send` it through the bridge, if anybody waits for it."""
        self.call.loan.unsent()
        if self._given_up or self.future.done():
            return self.call.loan.back()
        if asyncio.events._get_running_loop() is self._loop:
            return self._send(send)
        try:
            self._loop.call_soon_threadsafe(self._send, send)
        except RuntimeError:  # that loop has ended
            self.call.loan.back()

    def _send(self, send: Callable[[], None]) -> None:
        if self.future.done():
            return self.call.loan.back()
        try:
            send()
        except CodedError as error:
            self.call.loan.unsent()
            self.future.set_exception(error)


def tell_cancel(lane: Lane | None, call: str) -> bool:
    """Ask for a call's end on the connection that it was sent on."""
    return lane is not None and lane.tell(pack({"cancel": call}))


def interrupted() -> BaseException | None:
    """ComfyUI's own exception if the user has pressed Cancel, its flag taken back as its executor does."""
    management = sys.modules.get("comfy.model_management")
    if management is None or not management.processing_interrupted():
        return None
    try:
        management.throw_exception_if_processing_interrupted()
    except BaseException as error:  # noqa: BLE001 - this is the exception that we want
        return error
    return None
