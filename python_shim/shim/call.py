"""One call on its way: what is sent, and what is kept for its answer."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from ..wire.cuda import GpuRefused
from ..wire.encoder import Encoder
from ..wire.errors import CodedError, RemoteFailure
from ..wire.frames import to_json
from .handles import RemoteHandle

if TYPE_CHECKING:
    from .calls import Calls
    from .lanes import Lane
    from .ways import Way


class _NoTimer:
    def cancel(self) -> None:
        """Nothing to cancel."""


_NO_TIMER = _NoTimer()


def _list_index() -> int:
    """Which item of the node's lists ComfyUI calls it for (`comfy_execution/utils.py`)."""
    utils = sys.modules.get("comfy_execution.utils")
    current = utils.get_executing_context() if utils is not None else None
    return getattr(current, "list_index", None) or 0


def _client() -> str | None:
    """ComfyUI's name of the browser tab whose prompt runs (`execution.py` sets it)."""
    server = sys.modules.get("server")
    client = getattr(getattr(getattr(server, "PromptServer", None), "instance", None), "client_id", None)
    return client if isinstance(client, str) else None


def _tag_of(workers: set[str], value: Any, path: str) -> dict[str, Any] | None:
    tag = value._tag if isinstance(value, RemoteHandle) else None
    if tag is not None:
        workers.add(tag["worker"])
    return tag


class Call:
    """One call on its way: what is sent, and what is kept for its answer."""

    def __init__(
        self, calls: Calls, pack_id: str, cls: str, method: str, node: str, prompt: str | None, kwargs: dict[str, Any], copy: bool
    ) -> None:
        self._calls, self.id, self.node, self.prompt = calls, calls.new_id(), node, prompt
        self.pack, self.method = pack_id, method
        self.began = time.perf_counter()
        #: The worker's process that it was sent to straight.
        self.way: Way | None = None
        self.straight: Lane | None = None
        self.given_up = False
        self.timer: Any = _NO_TIMER
        workers: set[str] = set()
        gpu = None if copy else calls.gpu.get(pack_id, "check")
        # not a method of ours: the encoder keeps the inputs, and a cycle would keep them until the garbage collector comes
        self._encoder = Encoder(calls.pool, functools.partial(_tag_of, workers), mapped=None if copy else calls.mapped, gpu=gpu)
        self.body = to_json(self._encoder.encode(kwargs, f"the input of {cls} (node {node})")).encode()
        self.on_gpu = self._encoder.on_gpu
        call: dict[str, Any] = {"call": self.id, "pack": pack_id, "class": cls, "method": method, "node": node, "prompt": prompt}
        index, client = _list_index(), _client()
        if index:
            call["index"] = index
        if client is not None:
            call["client"] = client
        if workers:
            call["workers"] = sorted(workers)
        self.header: dict[str, Any] = {"call": call}

    def result(self, header: dict[str, Any], body: bytes) -> Any:
        """The call's result. Raises RemoteFailure for an error answer, and CodedError if its memory is gone."""
        self._settle(header)
        try:
            if "error" in header:
                raise RemoteFailure(header["error"])
            value, done = self._calls.decode_result(json.loads(body), self._encoder.kept)
            self._calls.mapped.copied(done)
            if self.on_gpu:
                self._calls.gpu[self.pack] = "yes"
            return value
        except GpuRefused as error:
            self._calls.gpu[self.pack] = None
            what = f"The result of node {self.node} is on a GPU, and {error}."
            raise CodedError("VALUE_NOT_PORTABLE", what, "Run again: it comes through main memory from now on.") from error
        except OSError as error:
            hint = "Run again: a new worker starts by itself."
            raise CodedError("WORKER_DIED", f"The worker of {self.pack} ended before its result was read ({error}).", hint) from error
        finally:
            self._calls.ended(self, header.get("error"))

    def _settle(self, header: dict[str, Any]) -> None:
        """A worker that has read the call releases its leases itself, also those that a node keeps; else nobody has them."""
        worker = header.get("worker")
        if worker is None:
            self.dead()
        elif self._encoder.leases:
            self._calls.pool.hold(self._encoder.leases, worker)
            if self.way is not None and self._calls.ways.is_gone(self.way.owner):
                self.dead()  # it ended after its answer, and before this was read

    def dead(self) -> None:
        """Whoever had this call's memory is gone."""
        for lease in self._encoder.leases:
            self._calls.pool.release(lease)

    def discard(self, header: dict[str, Any], body: bytes, error: CodedError | None) -> None:
        """An answer that nobody waits for any more: its memory goes back to its worker. With an `error` there is none."""
        if error is not None:
            return self.dead()
        with contextlib.suppress(CodedError):
            self.result(header, body)
