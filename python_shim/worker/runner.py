"""Runs node classes: keeps their instances, decodes what comes in, encodes what goes out, and can be interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import inspect
import itertools
import sys
import threading
from collections.abc import Callable
from typing import Any

from ..wire.decoder import Decoder
from ..wire.encoder import Encoder
from ..wire.errors import CodedError, NodeRaised
from ..wire.frames import INTERRUPT, to_json
from ..wire.mapping import MappedSegments
from ..wire.segments import OWNER, SegmentPool
from . import host_server, v3
from .channel import Channel
from .memory import beyond_limit, give_back, unload_models
from .progress import Progress


class Interrupted(BaseException):
    """The user cancelled. Not an Exception, so that a node's `except Exception` does not swallow it."""


class Runner:
    """The state of a worker: packs, node instances, handles, segments, and the call that runs."""

    def __init__(self, channel: Channel) -> None:
        self.worker = ""
        self.pool = SegmentPool()
        self.mapped = MappedSegments()
        self.packs: dict[str, dict[str, type]] = {}
        self.channel = channel
        self.progress = Progress(self)
        self._instances: dict[tuple[str, str, str], Any] = {}
        self._handles: dict[str, Any] = {}
        self._kept, self._kept_lock = 0, threading.Lock()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.current: str | None = None
        self._node = ""
        self._cancelled: set[str] = set()
        #: Tells what the call that runs shows, on the way of its answer.
        self.note: Callable[[dict[str, Any]], None] = lambda note: None
        self._writing = False
        #: Whether the call that runs has not read its values yet: then it holds no lease on them.
        self.unread = True
        #: Whether the last tensor of a GPU was handed over there: then the other way works too.
        self._gpu_works = False

    def call(self, call: dict[str, Any], kwargs: Any) -> bytes:
        """One node call; the result as JSON. Raises CodedError for whatever goes wrong, with the node's own exception inside."""
        with self._lock:
            if call["call"] in self._cancelled:
                self._cancelled.discard(call["call"])
                raise _interrupted()
            self.current, self._node = call["call"], f"{call['class']} (node {call['node']})"
        if "says_start" in call:
            self.note({"started": call["call"]})
        host_server.show_call(call)
        try:
            result = to_json(self.run(call, kwargs)).encode()
            self._pass_on_interrupt(call["call"])
            return result
        except Interrupted:
            raise _interrupted() from None
        finally:
            with self._lock:
                self.current = None
                self._cancelled.discard(call["call"])
            self._set_host_interrupt(False)

    def run(self, call: dict[str, Any], kwargs: Any) -> Any:
        """Decode, run, encode. Also for calls beside the main thread, which cannot be interrupted."""
        cls = self.class_of(call)
        decoder = Decoder(self.mapped, self._resolve_handle)
        try:
            given = decoder.decode(kwargs)
        except OSError as error:
            what = f"The memory of an input of {call['class']} has gone with the process that owned it ({error})."
            raise CodedError("SEGMENT_GONE", what, "Run again.") from error
        self.unread = False
        self.mapped.copied(decoder.done)
        if decoder.from_gpu is not None:
            self._gpu_works = decoder.from_gpu
        result = self._run(cls, call, given)
        gpu = "yes" if self._gpu_works else None
        return self._encoded(result, f"the result of {call['class']}", inputs=decoder.seen, gpu=gpu)

    def _encoded(self, result: Any, name: str, **more: Any) -> Any:
        """A result as it travels. If it cannot, what it would have kept goes."""
        made: list[str] = []

        def keep(value: Any, path: str) -> dict[str, Any]:
            tag = self._make_handle(value, path)
            made.append(tag["id"])
            return tag

        try:
            return Encoder(self.pool, keep, mapped=self.mapped, **more).encode(result, name)
        except BaseException:
            self.drop_handles(made)
            raise

    def call_function(self, wanted: dict[str, Any], kwargs: Any) -> bytes:
        """A function of any module, or a method of a class in it, for workers that a program started by itself."""
        sys.path[:0] = [folder for folder in wanted["path"] if folder not in sys.path]
        decoder = Decoder(self.mapped, self._resolve_handle)
        given, state = decoder.decode(kwargs), decoder.decode(wanted["state"])
        self.unread = False
        self._node = f"{wanted['class'] or wanted['module']}.{wanted['name']}"
        try:
            place: Any = importlib.import_module(wanted["module"])
            if wanted["class"] is not None:
                kind = getattr(place, wanted["class"])
                place = kind() if state is None else kind.__new__(kind)
                vars(place).update(state or {})
            with _inference_mode():
                result = getattr(place, wanted["name"])(**given)
                result = asyncio.run(_await(result)) if inspect.isawaitable(result) else result
        except BaseException as error:  # noqa: BLE001 - sys.exit() too ends the call, not the worker
            raise NodeRaised(self._node, error) from error
        return to_json(self._encoded(result, f"the result of {self._node}", inputs=decoder.seen)).encode()

    def class_of(self, call: dict[str, Any]) -> Any:
        """The class that a call is for."""
        cls = self.packs.get(call["pack"], {}).get(call["class"])
        if cls is None:
            what = f"{call['pack']} has no node class {call['class']} in this worker."
            raise CodedError("UNKNOWN_NODE_CLASS", what, "Reload the node pack.")
        return cls

    def _run(self, cls: Any, call: dict[str, Any], kwargs: dict[str, Any]) -> Any:
        """Call the class's method as ComfyUI's executor does. What the node raises comes out as NODE_RAISED."""
        self.progress.hook()
        _name_new_nodes(call)
        try:
            with _inference_mode(), _node_context(call):
                result = self._method(cls, call, kwargs)(**kwargs)
                return asyncio.run(_await(result)) if inspect.isawaitable(result) else result
        except (Interrupted, CodedError):
            raise
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a node ends the node, not the worker
            if type(error).__name__ == "InterruptProcessingException":
                raise Interrupted from None
            node = f"{call['class']} (node {call['node']})"
            raise beyond_limit(error, node) or NodeRaised(node, error) from error

    def _method(self, cls: Any, call: dict[str, Any], kwargs: dict[str, Any]) -> Any:
        method = call["method"]
        if v3.is_v3(cls):
            return v3.method(cls, method, kwargs.pop(v3.HIDDEN, None) or {})
        if method == "FUNCTION":
            return getattr(self._instance(cls, call), cls.FUNCTION)
        if method == "check_lazy_status":
            return self._instance(cls, call).check_lazy_status
        return getattr(cls, method)

    def _instance(self, cls: Any, call: dict[str, Any]) -> Any:
        """The node's instance: one per node and class, as in ComfyUI, so that `self` keeps its state."""
        key = (call["pack"], call["class"], call["node"])
        if key not in self._instances:
            self._instances[key] = cls()
        return self._instances[key]

    def encode_schema(self, value: Any, path: str) -> Any:
        """INPUT_TYPES and the like: containers and magic types, no objects."""
        return Encoder(self.pool, _as_text, schema=True).encode(value, path)

    def encode_event(self, value: Any, path: str) -> Any:
        """What goes to the browser: data only."""
        return Encoder(self.pool).encode(value, path)

    def cancel(self, call: str) -> None:
        """Reader thread: ask the running call to stop, or keep a waiting one from starting."""
        with self._lock:
            self._cancelled.add(call)
            running = self.current == call
        if running:
            self._set_host_interrupt(True)

    def raise_if_cancelled(self) -> None:
        """Called where a node reports progress."""
        if self.current is not None and self.current in self._cancelled:
            raise Interrupted

    def show(self, note: dict[str, Any]) -> None:
        """Send what the running node shows. An interrupt waits until all of it is written: half a frame would end the link."""
        self._writing = True
        try:
            self.note(note)
        finally:
            self._writing = False
        self.raise_if_cancelled()

    def on_sigint(self, signum: int, frame: Any) -> None:
        """Main thread: the bridge insists. Raises inside the node's Python code if its call was cancelled."""
        if not self._writing:
            self.raise_if_cancelled()

    def _pass_on_interrupt(self, call: str) -> None:
        """A node that calls ComfyUI's `interrupt_processing` stops the prompt, after its own result."""
        management = sys.modules.get("comfy.model_management")
        if management is not None and call not in self._cancelled and management.processing_interrupted():
            self.progress.event(INTERRUPT, None)

    def _set_host_interrupt(self, value: bool) -> None:
        management = sys.modules.get("comfy.model_management")
        if management is not None and hasattr(management, "interrupt_current_processing"):
            management.interrupt_current_processing(value)

    def _make_handle(self, value: Any, path: str) -> dict[str, Any]:
        name = f"h{next(self._numbers)}"
        self._handles[name] = value
        self.tell_kept()
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return {"$": "handle", "id": name, "owner": OWNER, "worker": self.worker, "type": kind, "made_by": self._node}

    def _resolve_handle(self, tag: dict[str, Any]) -> Any:
        if tag["owner"] != OWNER:
            what = f"{self._node} was given a {tag['type']} that {tag['made_by']} made in the worker {tag['worker']}. It cannot leave it."
            hint = "Run both nodes in the same place: switch isolation of both node packs off, or let them share a worker."
            raise CodedError("HANDLE_FOREIGN", what, hint)
        if tag["id"] not in self._handles:
            what = f"A {tag['type']} that {tag['made_by']} made is gone: ComfyUI has let go of it."
            raise CodedError("HANDLE_GONE", what, "Run again: the node that made it runs once more.")
        return self._handles[tag["id"]]

    def drop_handles(self, names: list[str]) -> None:
        """ComfyUI has forgotten these objects."""
        for name in names:
            self._handles.pop(name, None)
        self.tell_kept()

    def tell_kept(self) -> None:
        """How many objects are kept for ComfyUI: with any, the bridge does not take this worker for idle."""
        with self._kept_lock:
            count = len(self._handles)
            if count != self._kept:
                self._kept = count
                self.channel.notify("handles.kept", {"count": count})

    def relax(self) -> None:
        """Nothing has run for a while: give memory back that is kept for the next call."""
        self.pool.shrink(0)
        self.mapped.forget_unused(0)
        give_back()

    def unload(self) -> None:
        """ComfyUI unloads its models, and wants the GPU's memory."""
        unload_models()
        self.relax()


def _inference_mode() -> Any:
    torch = sys.modules.get("torch")
    return torch.inference_mode() if torch is not None else contextlib.nullcontext()


def _node_context(call: dict[str, Any]) -> Any:
    """ComfyUI's own note of which node runs, for code that asks (`comfy_execution/utils.py`)."""
    utils = sys.modules.get("comfy_execution.utils")
    if utils is None or not hasattr(utils, "CurrentNodeContext"):
        return contextlib.nullcontext()
    return utils.CurrentNodeContext(call["prompt"], call["node"], call.get("index", 0))


def _name_new_nodes(call: dict[str, Any]) -> None:
    """Nodes that this one adds to the graph get the ids that they would get inside ComfyUI (`execution.py`): they are its cache's keys."""
    builder = _graph_builder()
    if builder is not None:
        builder.set_default_prefix(call["node"], call.get("index", 0), 0)


@functools.cache
def _graph_builder() -> Any:
    """ComfyUI's GraphBuilder, which a node may import only when it runs; None where there is no ComfyUI."""
    try:
        return importlib.import_module("comfy_execution.graph_utils").GraphBuilder
    except (ImportError, AttributeError):
        return None


def _interrupted() -> CodedError:
    return CodedError("NODE_INTERRUPTED", "The call was cancelled.", "")


def _as_text(value: Any, path: str) -> dict[str, Any]:
    """An object inside INPUT_TYPES: what it says of itself is all that the host can show."""
    return {"$": "magic", "kind": "str", "v": str(value), "ne": [str(value)]}


async def _await(value: Any) -> Any:
    return await value
