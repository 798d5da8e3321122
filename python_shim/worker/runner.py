"""Runs node classes: decodes what comes in, calls, encodes what goes out. Async nodes beside each other, all others one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from ..wire.decoder import Decoder
from ..wire.encoder import Encoder
from ..wire.errors import CodedError, NodeRaised, memory_error
from ..wire.frames import INTERRUPT, to_json
from ..wire.mapping import MappedSegments
from ..wire.pack_key import is_same_code
from ..wire.segments import SegmentPool
from . import cache_providers, dynamic_vram, host_server, host_start, v3
from .channel import Channel
from .compared import UNLIKE_ALL
from .contexts import Contexts
from .hidden import changes, copies_in
from .instances import Instances
from .kept_objects import KeptObjects
from .memory import beyond_limit, give_back, unload_models
from .node_loop import inference_mode
from .progress import Progress
from .returned import as_taken
from .running import Interrupted, Running, Runnings, current_call, interrupted

__all__ = ["Interrupted", "Runner"]


_LOADED_ANEW = "Queue the prompt again: its node classes are loaded anew. If it is loaded inside ComfyUI too, restart ComfyUI."


class Runner:
    """The state of a worker: packs, node instances, objects that stay, segments, and the calls that run."""

    def __init__(self, channel: Channel) -> None:
        self.pool = SegmentPool()
        self.mapped = MappedSegments()
        self.packs: dict[str, dict[str, type]] = {}
        #: Of what code the classes of each pack are (`pack_key.py`).
        self.codes: dict[str, str] = {}
        self.channel = channel
        self.calls = Runnings()
        self.progress = Progress(self)
        self.instances = Instances()
        self.contexts = Contexts()
        self.kept = KeptObjects(lambda count: channel.notify("handles.kept", {"count": count}))
        #: Whether the last tensor of a GPU was handed over there: then the other way works too.
        self._gpu_works = False

    def call(self, running: Running, kwargs: Any) -> bytes | Coroutine[Any, Any, bytes]:
        """One node call; the result as JSON, or, of an async node, what waits for it. Raises CodedError for whatever goes wrong, with the
        node's own exception inside."""
        self.calls.begin(running)
        self.calls.on_main = running
        token = current_call.set(running)
        result = waits = None
        try:
            if running.call.get("says_start"):
                running.note({"started": running.id}, [])
            host_server.show_call(running.call)
            host_start.show_previews(running.call)
            cls, decoder, given = self._read(running, kwargs)
            running.copies = copies_in(cls, given) if running.call["method"] in ("FUNCTION", "check_lazy_status") else []
            self.progress.hook()
            _name_new_nodes(running.call)
            try:
                result, waits = self.contexts.of(running.prompt).run(self._node, running, cls, given)
            except (Interrupted, CodedError):
                raise
            except BaseException as error:  # noqa: BLE001 - sys.exit() in a node ends the node, not the worker
                raise _raised(running, error) from error
            return self._finished(running, decoder, result) if waits is None else self._awaited(running, cls, decoder, waits)
        except Interrupted:
            raise interrupted() from None
        finally:
            current_call.reset(token)
            self.calls.on_main = None
            if waits is None:
                self._end(running)

    def _node(self, running: Running, cls: Any, given: dict[str, Any]) -> tuple[Any, Callable[[], Any] | None]:
        """What the node has returned, or what is to be awaited for that."""
        token = current_call.set(running)
        dynamic_vram.uses(running.prompt, given)
        try:
            with inference_mode(), _node_context(running.call):
                method = self._method(cls, running.call, given)
                if _is_async(method):
                    return None, functools.partial(method, **given)
                result = method(**given)
                if type(result) is not tuple and inspect.isawaitable(result):
                    return None, functools.partial(_await, result)
                return as_taken(running.call["method"], result, cls), None
        finally:
            dynamic_vram.node_ended(running.call["method"])
            current_call.reset(token)

    async def _awaited(self, running: Running, cls: Any, decoder: Decoder, waits: Callable[[], Any]) -> bytes:
        """What an async node returns: in its own task, which has the call as its context."""
        try:
            try:
                with _node_context(running.call):
                    result = await waits()
                    result = as_taken(running.call["method"], result, cls)
            except (Interrupted, CodedError):
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                raise _raised(running, error) from error
            return self._finished(running, decoder, result)
        except Interrupted:
            raise interrupted() from None
        finally:
            self._end(running)

    def _end(self, running: Running) -> None:
        self.calls.end(running)
        self.progress.ended(running)

    def aside(self, call: dict[str, Any], kwargs: Any) -> Any:
        """A check of inputs, beside the node that runs: nothing that is one for the process is touched for it."""
        running = Running(call, aside=True)
        token = current_call.set(running)
        try:
            cls, decoder, given = self._read(running, kwargs)
            try:
                with inference_mode(), _node_context(call):
                    result = self._method(cls, call, given)(**given)
                    result = asyncio.run(_await(result)) if inspect.isawaitable(result) else result
                    result = as_taken(call["method"], result, cls)
            except (Interrupted, CodedError):
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                raise _raised(running, error) from error
            return self._encode(running, decoder, result)
        finally:
            current_call.reset(token)

    def _read(self, running: Running, kwargs: Any) -> tuple[Any, Decoder, dict[str, Any]]:
        """The class and its arguments."""
        call = running.call
        expected = call.get("code")
        if expected is not None and not is_same_code(expected, self.codes.get(call["pack"]) or expected):
            raise CodedError("PACK_CHANGED", f"{call['pack']} has changed on disk since ComfyUI loaded it.", _LOADED_ANEW)
        cls = self.packs.get(call["pack"], {}).get(call["class"])
        if cls is None and call["method"] != "CACHE":
            what = f"{call['pack']} has no node class {call['class']} in this worker."
            raise CodedError("UNKNOWN_NODE_CLASS", what, "Reload the node pack.")
        decoder = self._decoder(running)
        try:
            with inference_mode():  # most tensors are of it
                given = decoder.decode(kwargs)
        except OSError as error:
            raise memory_error(error, f"an input of {call['class']}") from error
        running.unread = False
        self.mapped.copied(decoder.done)
        if decoder.from_gpu is not None:
            self._gpu_works = decoder.from_gpu
        return cls, decoder, given

    def _decoder(self, running: Running) -> Decoder:
        return Decoder(self.mapped, functools.partial(self.kept.find, running.node))

    def _method(self, cls: Any, call: dict[str, Any], kwargs: dict[str, Any]) -> Any:
        method = call["method"]
        if method == "CACHE":
            return functools.partial(cache_providers.ask, call["pack"], call["class"])
        if v3.is_v3(cls):
            return v3.method(cls, method, kwargs.pop(v3.HIDDEN, None) or {})
        if method == "FUNCTION":  # the object's own word counts, as in ComfyUI
            node = self.instances.of(cls, call)
            return getattr(node, node.FUNCTION)
        if method == "check_lazy_status":
            return self.instances.of(cls, call).check_lazy_status
        return getattr(cls, method)

    def _finished(self, running: Running, decoder: Decoder, result: Any) -> bytes:
        dynamic_vram.uses(running.prompt, result)
        encoded = to_json(self._encode(running, decoder, result)).encode()
        self._pass_on_interrupt(running)
        return encoded

    def _encode(self, running: Running, decoder: Decoder, result: Any, gpu: bool = True) -> Any:
        keep: Any = functools.partial(self.kept.keep, running.node)
        if running.call.get("method") == "IS_CHANGED":  # nobody takes it, and it would stay in the prompt
            keep = _unlike_all
        hand_over = "yes" if gpu and self._gpu_works else None
        encoder = Encoder(self.pool, keep, mapped=self.mapped, inputs=decoder.seen, gpu=hand_over, drop=self.kept.drop)
        name = running.call.get("class", running.node)
        form, written = encoder.encode(result, f"the result of {name}"), changes(running.copies)
        return {"$": "wrote", "v": form, "changes": encoder.encode(written, f"what {name} wrote")} if written else form

    def call_function(self, running: Running, wanted: dict[str, Any], arguments: Any) -> bytes:
        """A function of any module, or a method of a class in it, for workers that a program started by itself."""
        sys.path[:0] = [folder for folder in wanted["path"] if folder not in sys.path]
        running.node = f"{wanted['class'] or wanted['module']}.{wanted['name']}"
        decoder = self._decoder(running)
        (args, given), state = decoder.decode(arguments), decoder.decode(wanted["state"])
        running.unread = False
        try:
            place: Any = importlib.import_module(wanted["module"])
            if wanted["class"] is not None:
                kind = getattr(place, wanted["class"])
                place = kind() if state is None else kind.__new__(kind)
                vars(place).update(state or {})
            with inference_mode(wanted["inference"]):
                result = functools.reduce(getattr, wanted["name"].split("."), place)(*args, **given)
                result = asyncio.run(_await(result)) if inspect.isawaitable(result) else result
        except BaseException as error:  # noqa: BLE001 - sys.exit() too ends the call, not the worker
            raise NodeRaised(running.node, error) from error
        return to_json(self._encode(running, decoder, result, gpu=False)).encode()

    def encode_schema(self, value: Any, path: str) -> Any:
        """INPUT_TYPES and the like: containers and magic types, no objects."""
        return Encoder(self.pool, _as_text, schema=True).encode(value, path)

    def on_sigint(self, signum: int, frame: Any) -> None:
        """Main thread: the bridge insists."""
        self.calls.insist()

    def release(self, leases: list[str]) -> None:
        """Any thread: whoever had this memory of ours has let go of it."""
        for lease in leases:
            self.pool.release(lease)
        self.progress.released(leases)

    def _pass_on_interrupt(self, running: Running) -> None:
        """A node that calls ComfyUI's `interrupt_processing` stops the prompt, after its own result."""
        management = sys.modules.get("comfy.model_management")
        if management is not None and not running.cancelled and management.processing_interrupted():
            self.progress.event(INTERRUPT, None)

    def relax(self) -> None:
        """Nothing has run for a while: give memory back that is kept for the next call."""
        self.pool.shrink(0)
        self.mapped.forget_unused(0)
        give_back()

    def unload(self) -> None:
        """ComfyUI unloads its models, and wants the GPU's memory."""
        unload_models()
        self.relax()


def _raised(running: Running, error: BaseException) -> BaseException:
    """What a node raised, as NODE_RAISED; its own interrupt as ours."""
    cancelled = running.cancelled and isinstance(error, asyncio.CancelledError)
    if cancelled or type(error).__name__ == "InterruptProcessingException":
        return Interrupted()
    return beyond_limit(error, running.node) or NodeRaised(running.node, error)


def _unlike_all(value: Any, path: str) -> dict[str, Any]:
    return UNLIKE_ALL


def _is_async(method: Any) -> bool:
    code = getattr(method, "__code__", None)  # a method says it at once; `inspect` asks much
    return inspect.iscoroutinefunction(method) if code is None else bool(code.co_flags & inspect.CO_COROUTINE)


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


def _as_text(value: Any, path: str) -> dict[str, Any]:
    """An object inside INPUT_TYPES: what it says of itself is all that the host can show."""
    return {"$": "magic", "kind": "str", "v": str(value), "ne": [str(value)], "eq": [str(value)]}


async def _await(value: Any) -> Any:
    return await value
