"""One call: what is sent, and what is kept for its answer."""

from __future__ import annotations

import functools
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from ..wire.cuda import GpuRefused
from ..wire.encoder import Encoder
from ..wire.errors import CodedError, RemoteFailure, memory_error
from ..wire.frames import to_json
from . import host_start
from .connecting import Unsent
from .handles import RemoteHandle, tag_of_handle
from .loan import Loan
from .remote_error import handle_gone

if TYPE_CHECKING:
    from .calls import Calls
    from .lane import Lane
    from .ways import Way


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


def _tag_of(handles: dict[str, RemoteHandle], calls: Calls, value: Any, path: str) -> dict[str, Any] | None:
    if type(value) is not RemoteHandle:
        return None
    tag = tag_of_handle(value)
    if calls.is_gone(tag["owner"]):
        raise handle_gone(value)
    handles.setdefault(tag["owner"], value)
    return tag


def leases_in(value: Any) -> list[str]:
    """Every lease that a value in its JSON form names."""
    if isinstance(value, list):
        return [lease for item in value for lease in leases_in(item)]
    if not isinstance(value, dict):
        return []
    own = [value["lease"]] if isinstance(value.get("lease"), str) else []
    return own + [lease for item in value.values() for lease in leases_in(item)]


class Call:
    """One call on its way. Its `loan` is what it has in shared memory."""

    def __init__(
        self, calls: Calls, pack_id: str, cls: str, method: str, node: str, prompt: str | None, kwargs: dict[str, Any], copy: bool
    ) -> None:
        self._calls, self.id, self.node, self.prompt = calls, calls.new_id(), node, prompt
        self.pack, self.method, self._given = pack_id, method, kwargs
        self.began = time.perf_counter()
        #: The worker's process that it was sent to straight.
        self.way: Way | None = None
        self.straight: Lane | None = None
        #: The connection to the bridge, which hears of it.
        self.lane: Lane | None = None
        #: What went to the bridge with it.
        self.beside: dict[str, Any] = {}
        #: An object among its inputs for each process that has some.
        self.owners: dict[str, RemoteHandle] = {}
        gpu = None if copy else calls.gpu.get(pack_id, "check")
        # not a method of ours: the encoder keeps the inputs, and a cycle would keep them until the garbage collector comes
        handle = functools.partial(_tag_of, self.owners, calls)
        # a check of inputs gets no results of nodes, but their types, some of which are more than they look
        schema = method == "VALIDATE_INPUTS"
        self._encoder = Encoder(calls.pool, handle, schema=schema, mapped=None if copy else calls.mapped, gpu=gpu)
        self.loan = Loan(calls, self._encoder.leases)
        try:
            self.body = to_json(self._encoder.encode(kwargs, f"the input of {cls} (node {node})")).encode()
        except BaseException:
            self.loan.back()
            raise
        self.on_gpu = self._encoder.on_gpu
        call: dict[str, Any] = {"call": self.id, "pack": pack_id, "class": cls, "method": method, "node": node, "prompt": prompt}
        index, client, preview = _list_index(), _client(), host_start.preview_method()
        if index:
            call["index"] = index
        if client is not None:
            call["client"] = client
        if preview is not None:
            call["preview"] = preview
        if self.owners:
            call["owners"] = sorted(self.owners)
        code = calls.codes.get(pack_id)
        if code is not None:
            call["code"] = code
        self.header: dict[str, Any] = {"call": call}

    def ask_for_start(self) -> None:
        """It is to be told when the node starts."""
        self.header["call"]["says_start"] = True

    def explained(self, failure: RemoteFailure) -> RemoteFailure:
        """What the bridge cannot say: which object it was that cannot go there."""
        if failure.code == "HANDLE_GONE":
            for owner in failure.details.get("owners", ()):
                if owner in self.owners:
                    raise handle_gone(self.owners[owner])
        handle = self.owners.get(failure.details.get("owner", "")) if failure.code == "HANDLE_FOREIGN" else None
        if handle is None:
            return failure
        tag = tag_of_handle(handle)
        made = f"{tag['type']} that {tag['made_by']} made in the worker {tag['worker']}"
        call = self.header["call"]
        message = f"{call['class']} (node {self.node}) was given a {made}. It cannot leave it."
        return RemoteFailure({"code": failure.code, "message": message, "hint": failure.hint})

    def result(self, header: dict[str, Any], body: bytes) -> Any:
        """The call's result. Raises RemoteFailure for an error answer, and CodedError if its memory is gone."""
        self._settle(header)
        try:
            if "error" in header:
                raise RemoteFailure(header["error"])
            return self._decoded(json.loads(body))
        except GpuRefused as error:
            self._calls.gpu[self.pack] = None
            what = f"The result of node {self.node} is on a GPU, and {error}."
            raise CodedError("VALUE_NOT_PORTABLE", what, "Run again: it comes through main memory from now on.") from error
        except (FileNotFoundError, ProcessLookupError) as error:
            what = f"The worker of {self.pack} ended before the result of node {self.node} was read."
            raise CodedError("WORKER_DIED", what, "Run again: a new worker starts by itself.") from error
        except OSError as error:
            raise memory_error(error, f"the result of node {self.node}") from error
        finally:
            self._calls.ended(self, header.get("error"))

    def _decoded(self, value: Any) -> Any:
        try:
            result, done = self._calls.decode_result(value, self._encoder.kept, self._given)
        except BaseException:
            self._calls.mapped.copied(leases_in(value))  # nobody looks at what was read of it
            raise
        self._calls.mapped.copied(done)
        if self.on_gpu:
            self._calls.gpu[self.pack] = "yes"
        return result

    def _settle(self, header: dict[str, Any]) -> None:
        """An answer says which process has read the call; if none has, nobody has its memory."""
        owner = header.get("owner")
        if owner is None:
            return self.loan.back()
        self._calls.owners.seen(owner)
        self.loan.held(owner)

    def failed(self, error: CodedError) -> None:
        """There is no answer."""
        if isinstance(error, Unsent):
            self._calls.beside.put_back(self.beside)
            self.loan.back()
        else:
            self.loan.lost()

    def discard(self, header: dict[str, Any], body: bytes, error: CodedError | None) -> None:
        """An answer that nobody waits for any more: its memory goes back to its worker. With an `error` there is none."""
        if error is not None:
            return self.failed(error)
        try:
            self.result(header, body)
        except CodedError:
            return
