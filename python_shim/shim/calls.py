"""A call of an isolated node: inputs into shared memory, the call to the bridge, the result out of shared memory."""

from __future__ import annotations

import asyncio
import sys
import uuid
from concurrent.futures import Future
from typing import Any

from ..wire.decoder import Decoder
from ..wire.encoder import Encoder
from ..wire.errors import CodedError, RemoteFailure
from ..wire.segments import SegmentPool
from .client import BridgeClient
from .remote_error import raise_remote

#: How often a waiting call looks whether the user has pressed Cancel, in seconds.
POLL = 0.05


class RemoteHandle:
    """Stands in ComfyUI for an object that stayed in its worker. Nodes of that worker get the object itself."""

    __slots__ = ("__weakref__", "_calls", "_tag")

    def __init__(self, calls: Calls, tag: dict[str, Any]) -> None:
        self._calls, self._tag = calls, tag

    def __repr__(self) -> str:
        return f"<{self._tag['type']} in the worker {self._tag['worker']}, made by {self._tag['made_by']}>"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{name}: this {self._tag['type']} was made by {self._tag['made_by']} in the worker {self._tag['worker']} and cannot be used "
            "by a node outside it. Switch isolation on for both node packs' nodes, or off for the one that made it."
        )

    def __del__(self) -> None:
        self._calls.forget_handle(self._tag)


class Calls:
    """Runs calls for proxies. One for the whole ComfyUI."""

    def __init__(self) -> None:
        self.client: BridgeClient | None = None
        self.pool = SegmentPool()
        self._nodes: dict[str, str] = {}

    async def run(self, pack: str, cls: str, method: str, node: str, prompt: str | None, kwargs: dict[str, Any]) -> Any:
        """Call a node class's method in its worker. Raises what the node raised, or NodeError with a hint."""
        if self.client is None:
            raise CodedError("CONNECTION_LOST", "The bridge is not running.", "See the panel.")
        call = uuid.uuid4().hex
        encoder = Encoder(self.pool, call, self._tag_of)
        params = {
            "call": call,
            "pack": pack,
            "class": cls,
            "method": method,
            "node": node,
            "prompt": prompt,
            "kwargs": encoder.encode(kwargs, f"the input of {cls} (node {node})"),
        }
        self._nodes[call] = node
        try:
            answer = await self._wait(call, params)
        except RemoteFailure as failure:
            self._settle_leases(call, pack, dead=failure.code in ("WORKER_DIED", "WORKER_START_FAILED"))
            raise_remote(failure)
        except BaseException:
            self._settle_leases(call, pack, dead=False)
            raise
        finally:
            self._nodes.pop(call, None)
        self._settle_leases(call, pack, dead=False)
        try:
            return self.decode(answer["value"])
        except OSError as error:
            hint = "Run again: a new worker starts by itself."
            raise CodedError("WORKER_DIED", f"The worker of {pack} ended before its result was read ({error}).", hint) from error
        finally:
            self.client.notify("call.received", {"call": call})

    def decode(self, value: Any) -> Any:
        """A value that a worker sent; its shared memory is released with its last view."""
        return Decoder(self._released, self._handle_of).decode(value)

    def _settle_leases(self, call: str, pack: str, dead: bool) -> None:
        """A living worker releases its leases itself, also those that a node keeps; a dead one releases nothing."""
        if dead:
            self.pool.release_holder(call)
        else:
            self.pool.hand_over(call, f"pack:{pack}")

    async def _wait(self, call: str, params: dict[str, Any]) -> Any:
        """Wait for the answer and watch for an interrupt, which ComfyUI does not bring to async nodes by itself."""
        assert self.client is not None
        asked = self.client.request("node.call", params)
        future = asyncio.wrap_future(asked)
        management = sys.modules.get("comfy.model_management")
        while True:
            done, _ = await asyncio.wait({future}, timeout=POLL)
            if done:
                return future.result()
            if management is not None and management.processing_interrupted():
                self.client.notify("call.cancel", {"call": call})
                future.add_done_callback(lambda late: late.cancelled() or late.exception())
                asked.add_done_callback(lambda late: self._discard(call, late))
                management.throw_exception_if_processing_interrupted()

    def _discard(self, call: str, late: Future[Any]) -> None:
        """A result that nobody waits for any more: its memory goes back to its worker."""
        assert self.client is not None
        try:
            self.decode(late.result()["value"])
        except (CodedError, OSError):
            pass
        self.client.notify("call.received", {"call": call})

    def node_of(self, call: str | None) -> str | None:
        """The node that a running call is for."""
        return None if call is None else self._nodes.get(call)

    def worker_gone(self, params: dict[str, Any]) -> None:
        """A worker's process has ended: nothing of ours is held by it any more."""
        for pack in params["packs"]:
            self.pool.release_holder(f"pack:{pack}")

    def bridge_gone(self) -> None:
        """The bridge has ended, and its workers with it."""
        self.pool.release_all()

    def release(self, params: dict[str, Any]) -> None:
        """A worker has let go of these leases of ours."""
        for lease in params["leases"]:
            self.pool.release(lease)

    def _released(self, lease: str) -> None:
        if self.client is not None:
            self.client.notify("lease.release", {"leases": [lease]})

    def forget_handle(self, tag: dict[str, Any]) -> None:
        """ComfyUI no longer holds this object."""
        if self.client is not None:
            self.client.notify("handle.release", {"worker": tag["worker"], "handles": [tag["id"]]})

    def _handle_of(self, tag: dict[str, Any]) -> RemoteHandle:
        return RemoteHandle(self, tag)

    def _tag_of(self, value: Any, path: str) -> dict[str, Any] | None:
        return value._tag if isinstance(value, RemoteHandle) else None
