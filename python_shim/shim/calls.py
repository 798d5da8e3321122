"""A call of an isolated node: inputs into shared memory, the call to its worker, the result out of shared memory."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
from collections.abc import Callable
from typing import Any

from ..wire.decoder import Decoder
from ..wire.errors import CodedError, RemoteFailure
from ..wire.frames import pack
from ..wire.mapping import MappedSegments
from ..wire.segments import SegmentPool
from . import log, written
from .asking import Asking, interrupted, tell_cancel
from .beside import Beside
from .bridge_process import BridgeProcess
from .call import Call
from .client import BridgeClient
from .connecting import Unsent
from .handles import RemoteHandle
from .lane import Lane
from .lanes import Lanes
from .owners import Owners
from .remote_error import raise_remote, told
from .sending import Sender
from .turns import Turns
from .ways import Ways

__all__ = ["Calls", "interrupted"]
#: A call that nobody else's answer could overtake is first waited for on the spot, this long, in seconds: most small ones are answered by
#: then, without a turn of the event loop, and other nodes are held up no longer than that.
BRIEFLY = 0.001
#: How often what is told beside the calls goes out when there is no call to go with, in seconds.
TIDY = 0.1


#: A bridge that has ended is waited for so long, in seconds.
COMES_BACK = 20.0


class Calls:
    """Runs calls for proxies. One for the whole ComfyUI."""

    def __init__(self) -> None:
        self.client: BridgeClient | None = None
        self.lanes: Lanes | None = None
        self._connection: Callable[[], dict[str, Any]] = dict
        self._process: BridgeProcess | None = None
        #: The number of the bridge that has been told of this ComfyUI: its folders are its workers' before they load a pack.
        self.introduced = 0
        self.pool = SegmentPool()
        self.mapped = MappedSegments()
        self.owners = Owners()
        self.ways = Ways(self.owners)
        self.beside = Beside(self.mapped, self.ways)
        self.turns = Turns()
        self._sender = Sender(self)
        #: Says the folders of ComfyUI if they have changed since it was last asked.
        self.changed_folders: Callable[[], Any] = lambda: None
        #: What a running node shows: `Progress` and `HostEvent` of the schemas.
        self.on_progress: Callable[[dict[str, Any]], None] = lambda params: None
        self.on_event: Callable[[dict[str, Any]], None] = lambda params: None
        #: The calls that are waited for, by their ids.
        self._asking: dict[str, Asking] = {}
        self._prefix, self._numbers = secrets.token_hex(6), itertools.count(1)
        self._pid = os.getpid()
        #: By pack: of what code ComfyUI has its classes (`pack_key.py`).
        self.codes: dict[str, str] = {}
        #: By pack: whether tensors on a GPU can be handed over there. Unknown until the first has been tried.
        self.gpu: dict[str, str | None] = {}

    def use(self, client: BridgeClient, connection: Callable[[], dict[str, Any]], process: BridgeProcess | None = None) -> None:
        """Talk to the bridge that `connection()` describes, and that `process` starts again if it ends. Called once."""
        self.client, self._connection, self._process = client, connection, process
        self.lanes = Lanes(connection, self._told, client.loop)
        client.loop.call_soon_threadsafe(self._tidy)

    @property
    def on_owner_gone(self) -> list[Callable[[str], None]]:
        """Each is told of every process that is gone, once, on any thread."""
        return self.owners.on_gone

    def is_gone(self, owner: str) -> bool:
        """Whether a process, and every object that it had, is gone for good: its end was told, or that of its bridge."""
        return self.owners.is_gone(owner)

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
        """Call a node class's method in its worker. Raises what the node raised, or NodeError with a hint; HandleGone if it has not run.

        After `timeout` seconds of the node's own time, its wait for a turn or its worker not counted, it is cancelled.
        """
        try:
            if method == "VALIDATE_INPUTS":  # waits for no node
                return await self._run(pack_id, cls, method, node, prompt, kwargs, None, instance)
            async with self.turns.of(pack_id):
                return await self._run(pack_id, cls, method, node, prompt, kwargs, timeout, instance)
        except CodedError as error:  # of this process: an input that cannot be sent, a bridge that is gone
            raise told(error) from error

    async def _run(
        self,
        pack_id: str,
        cls: str,
        method: str,
        node: str,
        prompt: str | None,
        kwargs: dict[str, Any],
        timeout: float | None,
        instance: str | None,
    ) -> Any:
        loop = asyncio.get_running_loop()
        copy, unsent = False, 0
        while True:
            lane = await self._bridge(loop, method)  # before there is anything that could be lost meanwhile
            call = Call(self, pack_id, cls, method, node, prompt, kwargs, copy)
            if instance is not None:
                call.header["call"]["instance"] = instance
            try:
                header, body = await self._wait(call, lane, loop, timeout)
                self.ways.learn(pack_id, header)
                return call.result(header, body)
            except Unsent:
                unsent += 1
                if unsent > 1:
                    raise
            except RemoteFailure as failure:
                for owner in failure.details.get("owners", ()) if failure.code == "HANDLE_GONE" else ():
                    self.ways.close(owner)  # it may still be on its last calls: what is made again is not to be made there
                if failure.code != "SEGMENT_GONE" or copy:  # its owner ended meanwhile; the node has not run
                    raise_remote(call.explained(failure))
                copy = True
                if call.on_gpu:
                    self.gpu[pack_id] = None
            finally:
                call.loan.end()

    async def _bridge(self, loop: asyncio.AbstractEventLoop, method: str) -> Lane:
        """The connection to the bridge. Nothing is sent yet: one that has ended is waited for until it is there again."""
        process, end = self._process, loop.time() + COMES_BACK
        while True:
            number = 0 if process is None else process.number
            try:
                lane = await self._lanes().bridge(loop)
                if process is None or self.introduced == process.number:
                    return lane
                failed = CodedError("CONNECTION_LOST", "The bridge does not know of this ComfyUI yet.", "The panel says why.")
            except CodedError as error:
                if process is None or not process.comes_after(number):
                    raise
                failed = error
            if loop.time() > end:
                raise failed
            interrupt = interrupted() if method != "VALIDATE_INPUTS" else None
            if interrupt is not None:
                raise interrupt
            await asyncio.sleep(TIDY)

    async def _wait(self, call: Call, lane: Lane, loop: asyncio.AbstractEventLoop, timeout: float | None) -> tuple[dict[str, Any], bytes]:
        """Send the call and wait for its answer."""
        asking = Asking(self, call, loop, timeout)
        self._asking[call.id] = asking
        asking.watch()
        try:
            reader = self._sender.send(asking, lane, loop)
            if lane.loop is loop and reader.loop is loop and len(lane.waiting) == 1:
                reader.wait(BRIEFLY)
            loop.call_soon(self.mapped.settle)  # when this loop has nothing better to do: the worker needs a core to begin on
            return await asking.future
        except asyncio.CancelledError:
            asking.cancelled()
            raise
        finally:
            self._asking.pop(call.id, None)
            asking.end()

    def interrupt(self, loop: asyncio.AbstractEventLoop, error: BaseException) -> None:
        """The user has pressed Cancel, and the flag has been taken: every call of the prompt that runs in this loop ends."""
        for asking in list(self._asking.values()):
            if asking.is_of_prompt and asking.future.get_loop() is loop:
                asking.stop(type(error)(*error.args))

    def cancel(self, call: Call) -> None:
        """Ask the bridge to end a call whose answer nobody waits for."""
        self.ways.leave(call)
        if self.lanes is not None and not tell_cancel(call.lane, call.id):
            self.lanes.tell(pack({"cancel": call.id}))

    def _lanes(self) -> Lanes:
        if self.lanes is None or os.getpid() != self._pid:  # a forked child has its parent's connections, and must not use them
            raise CodedError("CONNECTION_LOST", "The bridge is not running.", "See the panel.")
        return self.lanes

    def _tidy(self) -> None:
        """In the background: what no call has taken along, and memory that is not needed any more."""
        assert self.client is not None
        for step in (self._tell_beside, self.lanes.sweep if self.lanes else None, self.pool.shrink, self.mapped.forget_unused):
            try:
                if step is not None:
                    step()
            except Exception:
                log.exception("comfyui-envmanager: tidying up failed, and goes on")
        self.client.loop.call_later(TIDY, self._tidy)

    def relax(self) -> None:
        """Memory is wanted elsewhere: give back what is kept for the next call."""
        self.pool.shrink(0)
        self.mapped.forget_unused(0)

    def _tell_beside(self) -> None:
        header = self.beside.take()
        if header and not (self.lanes is not None and self.lanes.tell(pack(header))):
            self.beside.put_back(header)

    def decode(self, value: Any) -> Any:
        """A value that a worker sent; its shared memory is released with its last view."""
        return Decoder(self.mapped, self._handle_of).decode(value)

    def decode_result(self, value: Any, inputs: Any, given: dict[str, Any]) -> tuple[Any, list[str]]:
        """A call's result, and leases of it that need not be held. What the node wrote into its hidden inputs is written into `given`."""
        decoder = Decoder(self.mapped, self._handle_of, inputs)
        result = decoder.decode(value)
        written.write(decoder.written, given)
        return result, decoder.done

    def ended(self, call: Call, error: dict[str, Any] | None) -> None:
        """The memory of a call's result is ours to hold now: its worker may end."""
        if call.way is not None:
            self.ways.ended(call, error)
        elif error is None:
            self.beside.received(call.id)

    def node_of(self, call: str | None) -> str | None:
        """The node that a running call is for."""
        asking = None if call is None else self._asking.get(call)
        return None if asking is None else asking.call.node

    def worker_gone(self, params: dict[str, Any]) -> None:
        """A worker's process has ended: nothing of ours is held by it any more."""
        owner = params["owner"]
        self.ways.close(owner)
        self.mapped.owner_gone(owner)
        self.pool.release_holder(owner)
        self.owners.end([owner])

    def workers_alive(self, params: dict[str, Any]) -> None:
        """After a connect: which processes the bridge has. It is the parent of all, so the others that it had have ended."""
        for owner in self.owners.not_among(params["owners"]):
            self.worker_gone({"owner": owner})

    def bridge_ready(self) -> None:
        """A bridge runs, and says where shared memory lies if it has names."""
        folder = self._connection()["segments"]
        self.pool.use_folder(None if folder is None else os.path.join(folder, "host"))

    def bridge_gone(self) -> None:
        """The bridge has ended. Its workers end too, and may go on for a moment: what they have of our memory is not used again."""
        self.introduced = 0
        self.ways.forget()
        self.owners.bridge_gone()
        self.pool.abandon_held()

    def release(self, params: dict[str, Any]) -> None:
        """A worker has let go of these leases of ours."""
        self.pool.release_all_of(params["leases"])

    def _told(self, header: dict[str, Any]) -> None:
        self.pool.release_all_of(header.get("released", ()))
        if "progress" in header:
            self.on_progress(header["progress"])
        if "event" in header:
            self.on_event(header["event"])
        asking = self._asking.get(header["started"]) if "started" in header else None
        if asking is not None:
            asking.started()

    def forget_handle(self, tag: dict[str, Any]) -> None:
        """ComfyUI no longer holds this object."""
        if self.client is not None and not self.is_gone(tag["owner"]) and os.getpid() == self._pid:
            self.client.notify("handle.release", {"owner": tag["owner"], "handles": [tag["id"]]})

    def _handle_of(self, tag: dict[str, Any]) -> RemoteHandle:
        return RemoteHandle(self, tag)

    def new_id(self) -> str:
        """A name that no other call has."""
        return f"{self._prefix}{next(self._numbers)}"
