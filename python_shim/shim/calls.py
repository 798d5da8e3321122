"""A call of an isolated node: inputs into shared memory, the call to its worker, the result out of shared memory."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import os
import secrets
import sys
from collections.abc import Callable
from typing import Any

from ..wire.decoder import Decoder
from ..wire.errors import CodedError, RemoteFailure
from ..wire.frames import pack
from ..wire.mapping import MappedSegments
from ..wire.segments import SegmentPool, owner_of
from .call import Call
from .client import BridgeClient
from .connecting import not_running
from .handles import RemoteHandle
from .lanes import Lane, Lanes, Waiter
from .remote_error import raise_remote
from .turns import Turns
from .ways import Ways, drained

#: How often a waiting call looks whether the user has pressed Cancel, in seconds.
POLL = 0.05
#: A call that nobody else's answer could overtake is first waited for on the spot, this long, in seconds: most small ones are answered by
#: then, without a turn of the event loop, and other nodes are held up no longer than that.
BRIEFLY = 0.001
#: How often what is told beside the calls goes out when there is no call to go with, in seconds.
TIDY = 0.1


class Calls:
    """Runs calls for proxies. One for the whole ComfyUI."""

    def __init__(self) -> None:
        self.client: BridgeClient | None = None
        self.lanes: Lanes | None = None
        self._connection: Callable[[], dict[str, Any]] = dict
        self.pool = SegmentPool()
        self.mapped = MappedSegments()
        self.ways = Ways()
        self.turns = Turns()
        #: Says the folders of ComfyUI if they have changed since it was last asked.
        self.changed_folders: Callable[[], Any] = lambda: None
        #: What a running node shows: `Progress` and `HostEvent` of the schemas.
        self.on_progress: Callable[[dict[str, Any]], None] = lambda params: None
        self.on_event: Callable[[dict[str, Any]], None] = lambda params: None
        self._nodes: dict[str, str] = {}
        self._received: collections.deque[str] = collections.deque()
        self._prefix, self._numbers = secrets.token_hex(6), itertools.count(1)
        self._prompt: str | None = None
        #: By pack: whether tensors on a GPU can be handed over there. Unknown until the first has been tried.
        self.gpu: dict[str, str | None] = {}

    def use(self, client: BridgeClient, connection: Callable[[], dict[str, Any]]) -> None:
        """Talk to the bridge that `connection()` describes. Called once."""
        self.client, self._connection = client, connection
        self.lanes = Lanes(connection, self._told, client.loop)
        client.loop.call_soon_threadsafe(self._tidy)

    async def run(
        self,
        pack_id: str,
        cls: str,
        method: str,
        node: str,
        prompt: str | None,
        kwargs: dict[str, Any],
        timeout: float | None = None,
        instance: str | None = None,
    ) -> Any:
        """Call a node class's method in its worker. Raises what the node raised, or NodeError with a hint."""
        if timeout is not None:  # the call is cancelled when its time is up
            return await asyncio.wait_for(self.run(pack_id, cls, method, node, prompt, kwargs, instance=instance), timeout)
        if method == "VALIDATE_INPUTS":  # waits for no node
            return await self._run(pack_id, cls, method, node, prompt, kwargs, instance)
        async with self.turns.of(pack_id):
            return await self._run(pack_id, cls, method, node, prompt, kwargs, instance)

    async def _run(
        self, pack_id: str, cls: str, method: str, node: str, prompt: str | None, kwargs: dict[str, Any], instance: str | None
    ) -> Any:
        for last in (False, True):
            call = Call(self, pack_id, cls, method, node, prompt, kwargs, copy=last)
            if instance is not None:
                call.header["call"]["instance"] = instance
            try:
                header, body = await self._wait(call)
                self.ways.learn(pack_id, header)
                return call.result(header, body)
            except RemoteFailure as failure:
                if failure.code != "SEGMENT_GONE" or last:  # its owner ended meanwhile; the node has not run
                    raise_remote(failure)
                if call.on_gpu:
                    self.gpu[pack_id] = None
            finally:
                self._nodes.pop(call.id, None)
        raise AssertionError

    async def _wait(self, call: Call) -> tuple[dict[str, Any], bytes]:
        """Wait for the answer and watch for an interrupt, which ComfyUI does not bring to async nodes by itself."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[dict[str, Any], bytes]] = loop.create_future()
        lane = self._lanes().of(loop)

        def settle(header: dict[str, Any], body: bytes, error: CodedError | None) -> None:
            if future.done():
                call.discard(header, body, error)
            elif error is not None:
                call.dead()
                future.set_exception(error)
            else:
                future.set_result((header, body))

        def answered(header: dict[str, Any], body: bytes, error: CodedError | None) -> None:
            if call.given_up:
                return call.discard(header, body, error)
            if asyncio.events._get_running_loop() is loop:
                return settle(header, body, error)
            try:  # read in the background
                loop.call_soon_threadsafe(settle, header, body, error)
            except RuntimeError:  # the prompt's loop has ended
                call.discard(header, body, error)

        timer = loop.call_later(POLL, self._look, loop, lane, call, future)
        try:
            reader = self._ask_straight(lane, call, Waiter(answered), loop) or self._ask(lane, call, Waiter(answered))
            if lane.loop is loop and reader.loop is loop and len(lane.waiting) == 1:
                reader.wait(BRIEFLY)
            loop.call_soon(self.mapped.settle)  # when this loop has nothing better to do: the worker needs a core to begin on
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                call.discard(*future.result(), None)
            else:
                self._give_up(lane, call)
            raise
        finally:
            timer.cancel()
            call.timer.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop, lane: Lane, call: Call, future: asyncio.Future[Any]) -> None:
        """Every now and then: has the user pressed Cancel?"""
        if future.done():
            return
        interrupt = interrupted()
        if interrupt is None:
            call.timer = loop.call_later(POLL, self._look, loop, lane, call, future)
            return
        self._give_up(lane, call)
        future.set_exception(interrupt)

    def _lanes(self) -> Lanes:
        if self.lanes is None:
            raise CodedError("CONNECTION_LOST", "The bridge is not running.", "See the panel.")
        return self.lanes

    def _ask_straight(self, lane: Lane, call: Call, waiter: Waiter, loop: asyncio.AbstractEventLoop) -> Lane | None:
        """Send a call to its worker's process itself; the connection that it went. None if there is no way: through the bridge then."""
        self._tell_folders(lane, call)
        way = self.ways.of(call)
        if way is None:
            return None
        try:
            straight = self._lanes().of(loop, way)
        except OSError:
            return self.ways.close(way.owner)
        if straight.full:
            return None
        released = self.mapped.let_go()
        own = [name for name in released if owner_of(name) == way.owner]
        beside = self._beside([name for name in released if owner_of(name) != way.owner] if own else released)
        self._nodes[call.id] = call.node
        try:
            sent = self.ways.ask(call, lane, straight, waiter, beside, own)
        except OSError as error:
            lane.close()
            call.dead()
            raise not_running(error) from error
        if not sent:
            return self.mapped.copied(own)  # to be told through the bridge
        call.straight = straight
        return straight

    def _tell_folders(self, lane: Lane, call: Call) -> None:
        """Once a prompt. What has changed goes through the bridge to all workers, and so the next call of each."""
        if call.prompt is not None and call.prompt != self._prompt:  # once a prompt
            self._prompt = call.prompt
            folders = self.changed_folders()
            if folders is not None:
                self.ways.forget()
                lane.tell(pack({"folders": folders}))

    def _ask(self, lane: Lane, call: Call, waiter: Waiter) -> Lane:
        self._nodes[call.id] = call.node
        self._tell_folders(lane, call)
        try:
            lane.ask({**call.header, **self._beside()}, call.body, waiter)
        except OSError as error:
            lane.close()
            call.dead()
            raise not_running(error) from error
        return lane

    def _beside(self, released: list[str] | None = None) -> dict[str, Any]:
        """What the bridge is told with the next frame: leases let go of, results mapped, calls that went straight."""
        released = self.mapped.let_go() if released is None else released
        header: dict[str, Any] = {**self.ways.told(), **({"released": released} if released else {})}
        received = drained(self._received)
        if received:
            header["received"] = received
        return header

    def _give_up(self, lane: Lane, call: Call) -> None:
        """Nobody waits for the answer any more."""
        call.given_up = True
        lane.tell(pack({"cancel": call.id}))
        for read in (lane, call.straight):
            if read is not None and read.loop is not None and self.lanes is not None and asyncio.events._get_running_loop() is read.loop:
                self.lanes.abandon(read)

    def _tidy(self) -> None:
        """In the background: what no call has taken along, and memory that is not needed any more."""
        assert self.client is not None
        if self.client.connected and self.lanes is not None:
            beside = self._beside()
            if beside:
                with contextlib.suppress(CodedError):
                    self.lanes.tell(pack(beside))
        self.pool.shrink()
        self.mapped.forget_unused()
        self.client.loop.call_later(TIDY, self._tidy)

    def decode(self, value: Any) -> Any:
        """A value that a worker sent; its shared memory is released with its last view."""
        return Decoder(self.mapped, self._handle_of).decode(value)

    def decode_result(self, value: Any, inputs: Any) -> tuple[Any, list[str]]:
        """A call's result, and leases of it that need not be held."""
        decoder = Decoder(self.mapped, self._handle_of, inputs)
        return decoder.decode(value), decoder.done

    def ended(self, call: Call, error: dict[str, Any] | None) -> None:
        """The memory of a call's result is ours to hold now: its worker may end."""
        if call.way is not None:
            self.ways.ended(call, error)
        elif error is None:
            self._received.append(call.id)

    def node_of(self, call: str | None) -> str | None:
        """The node that a running call is for."""
        return None if call is None else self._nodes.get(call)

    def is_gone(self, owner: str) -> bool:
        """Whether that worker's process has ended."""
        return self.ways.is_gone(owner)

    def worker_gone(self, params: dict[str, Any]) -> None:
        """A worker's process has ended: nothing of ours is held by it any more."""
        self.ways.owner_gone(params["owner"])
        self.pool.release_holder(params["worker"])
        self.mapped.owner_gone(params["owner"])

    def bridge_ready(self) -> None:
        """A bridge runs, and says where shared memory lies if it has names."""
        folder = self._connection()["segments"]
        self.pool.use_folder(None if folder is None else os.path.join(folder, "host"))

    def bridge_gone(self) -> None:
        """The bridge has ended, and its workers with it."""
        self.ways.forget()
        self.pool.release_all()
        if self.lanes is not None:
            self.lanes.close()

    def release(self, params: dict[str, Any]) -> None:
        """A worker has let go of these leases of ours."""
        for lease in params["leases"]:
            self.pool.release(lease)

    def _told(self, header: dict[str, Any]) -> None:
        self.release({"leases": header.get("released", ())})
        if "progress" in header:
            self.on_progress(header["progress"])
        if "event" in header:
            self.on_event(header["event"])

    def forget_handle(self, tag: dict[str, Any]) -> None:
        """ComfyUI no longer holds this object."""
        if self.client is not None:
            self.client.notify("handle.release", {"worker": tag["worker"], "handles": [tag["id"]]})

    def _handle_of(self, tag: dict[str, Any]) -> RemoteHandle:
        return RemoteHandle(self, tag)

    def new_id(self) -> str:
        """A name that no other call has."""
        return f"{self._prefix}{next(self._numbers)}"


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
