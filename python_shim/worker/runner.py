"""Runs node classes: keeps their instances, decodes what comes in, encodes what goes out, and can be interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import sys
import threading
import time
from typing import Any

from ..wire.decoder import Decoder
from ..wire.encoder import Encoder
from ..wire.errors import CodedError, describe_exception
from ..wire.segments import SegmentPool
from .channel import Channel

#: Progress goes out at most this often, in seconds; the last step always does.
PROGRESS_EVERY = 0.02


class Interrupted(BaseException):
    """The user cancelled. Not an Exception, so that a node's `except Exception` does not swallow it."""


class Runner:
    """The state of a worker: packs, node instances, handles, segments, and the call that runs."""

    def __init__(self, channel: Channel) -> None:
        self.worker = ""
        self.pool = SegmentPool()
        self.packs: dict[str, dict[str, type]] = {}
        self._channel = channel
        self._instances: dict[tuple[str, str, str], Any] = {}
        self._handles: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._current: str | None = None
        self._node = ""
        self._cancelled: set[str] = set()
        self._progress_sent = 0.0

    def call(self, params: dict[str, Any]) -> dict[str, Any]:
        """One `node.call`. Raises CodedError for whatever goes wrong, with the node's own exception inside."""
        cls = self.packs.get(params["pack"], {}).get(params["class"])
        if cls is None:
            what = f"{params['pack']} has no node class {params['class']} in this worker."
            raise CodedError("UNKNOWN_NODE_CLASS", what, "Reload the node pack.")
        with self._lock:
            if params["call"] in self._cancelled:
                self._cancelled.discard(params["call"])
                raise _interrupted()
            self._current, self._node = params["call"], f"{params['class']} (node {params['node']})"
        try:
            kwargs = Decoder(self._released, self._resolve_handle).decode(params["kwargs"])
            result = self._run(cls, params, kwargs)
            del kwargs
            encoder = Encoder(self.pool, "host", self._make_handle)
            return {"value": encoder.encode(result, f"the result of {params['class']}")}
        except Interrupted:
            raise _interrupted() from None
        finally:
            with self._lock:
                self._current = None
                self._cancelled.discard(params["call"])
            self._set_host_interrupt(False)

    def _run(self, cls: Any, params: dict[str, Any], kwargs: dict[str, Any]) -> Any:
        """Call the class's method as ComfyUI's executor does. What the node raises comes out as NODE_RAISED."""
        method = params["method"]
        self._hook_progress()
        try:
            torch = sys.modules.get("torch")
            with torch.inference_mode() if torch is not None else contextlib.nullcontext():
                if method == "FUNCTION":
                    function = getattr(self._instance(cls, params), cls.FUNCTION)
                elif method == "check_lazy_status":
                    function = self._instance(cls, params).check_lazy_status
                else:
                    function = getattr(cls, method)
                result = function(**kwargs)
                return asyncio.run(_await(result)) if inspect.isawaitable(result) else result
        except (Interrupted, CodedError):
            raise
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a node ends the node, not the worker
            if type(error).__name__ == "InterruptProcessingException":
                raise Interrupted from None
            raise NodeRaised(self._node, error) from error

    def _instance(self, cls: Any, params: dict[str, Any]) -> Any:
        """The node's instance: one per node and class, as in ComfyUI, so that `self` keeps its state."""
        key = (params["pack"], params["class"], params["node"])
        if key not in self._instances:
            self._instances[key] = cls()
        return self._instances[key]

    def encode_schema(self, value: Any, path: str) -> Any:
        """INPUT_TYPES and the like: containers and magic types, no objects."""
        return Encoder(self.pool, "host", _as_text, schema=True).encode(value, path)

    def cancel(self, call: str) -> None:
        """Reader thread: ask the running call to stop, or keep a waiting one from starting."""
        with self._lock:
            self._cancelled.add(call)
            running = self._current == call
        if running:
            self._set_host_interrupt(True)

    def on_sigint(self, signum: int, frame: Any) -> None:
        """Main thread: the bridge insists. Raises inside the node's Python code if its call was cancelled."""
        if self._current is not None and self._current in self._cancelled:
            raise Interrupted

    def _set_host_interrupt(self, value: bool) -> None:
        management = sys.modules.get("comfy.model_management")
        if management is not None and hasattr(management, "interrupt_current_processing"):
            management.interrupt_current_processing(value)

    def _released(self, lease: str) -> None:
        self._channel.later("lease.release", {"leases": [lease]})

    def _make_handle(self, value: Any, path: str) -> dict[str, Any]:
        name = f"h{next(self._numbers)}"
        self._handles[name] = value
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return {"$": "handle", "id": name, "worker": self.worker, "type": kind, "made_by": self._node}

    def _resolve_handle(self, tag: dict[str, Any]) -> Any:
        if tag["worker"] != self.worker or tag["id"] not in self._handles:
            what = f"A {tag['type']} that {tag['made_by']} made is gone: its worker was restarted."
            raise CodedError("HANDLE_FOREIGN", what, "Run the workflow again from that node.")
        return self._handles[tag["id"]]

    def drop_handles(self, names: list[str]) -> None:
        """ComfyUI has forgotten these objects."""
        for name in names:
            self._handles.pop(name, None)

    def progress(self, value: float, total: float, preview: Any = None) -> None:
        """Report progress of the running call; raises Interrupted if it was cancelled."""
        call = self._current
        if call is None:
            return
        if call in self._cancelled:
            raise Interrupted
        now = time.monotonic()
        if value < total and now - self._progress_sent < PROGRESS_EVERY:
            return
        self._progress_sent = now
        self._channel.notify("node.progress", {"call": call, "value": float(value), "total": float(total)})

    def host_event(self, event: str, data: Any, text: bool = False) -> None:
        """Pass on what a pack sends to the browser."""
        value = Encoder(self.pool, "host").encode(data, f"the event {event}")
        self._channel.notify("host.event", {"call": self._current, "event": event, "data": value, "text": text})

    def _hook_progress(self) -> None:
        """Take over `comfy.utils.ProgressBar` once the pack has imported it."""
        utils = sys.modules.get("comfy.utils")
        if utils is not None and hasattr(utils, "set_progress_bar_global_hook"):
            utils.set_progress_bar_global_hook(lambda value, total, preview=None, node_id=None: self.progress(value, total))


class NodeRaised(CodedError):
    """A node's own exception."""

    def __init__(self, node: str, error: BaseException) -> None:
        super().__init__("NODE_RAISED", f"{node} raised {type(error).__name__}: {error}", "The traceback names the place.")
        self.exception = describe_exception(error)

    def wire(self) -> dict[str, Any]:
        return {**super().wire(), "exception": self.exception}


def _interrupted() -> CodedError:
    return CodedError("NODE_INTERRUPTED", "The call was cancelled.", "")


def _as_text(value: Any, path: str) -> dict[str, Any]:
    """An object inside INPUT_TYPES: what it says of itself is all that the host can show."""
    return {"$": "magic", "kind": "str", "v": str(value), "ne": [str(value)]}


async def _await(value: Any) -> Any:
    return await value
