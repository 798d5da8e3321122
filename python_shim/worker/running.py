"""The calls that run in this worker: what each of them is, has made and has shown, and which one of them some code belongs to."""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..wire.errors import CodedError

if TYPE_CHECKING:
    import asyncio

#: So many cancels of calls that never came are remembered.
_MOST_EARLY = 1000


class Interrupted(BaseException):
    """The user cancelled. Not an Exception, so that a node's `except Exception` does not swallow it."""


@functools.cache
def _as_comfyui(kind: type) -> type[Interrupted]:
    return type(kind.__name__, (Interrupted, kind), {"__module__": kind.__module__})


def interrupt_of_comfyui() -> Interrupted:
    """What ComfyUI raises where a node shows its progress: nodes that clean up then listen for its class."""
    kind = getattr(sys.modules.get("comfy.model_management"), "InterruptProcessingException", None)
    return _as_comfyui(kind)() if isinstance(kind, type) else Interrupted()


class Running:
    """One call. `aside`: a check of inputs, beside the node that runs: it shows nothing and cannot be cancelled."""

    __slots__ = (
        "aside",
        "call",
        "cancelled",
        "copies",
        "ended",
        "id",
        "node",
        "note",
        "preview",
        "prompt",
        "task",
        "told",
        "unread",
        "writing",
    )

    def __init__(
        self, call: dict[str, Any], note: Callable[[dict[str, Any], list[str]], None] = lambda note, leases: None, aside: bool = False
    ) -> None:
        self.call, self.aside = call, aside
        #: Tells what it shows on the way of its answer, with the leases that go with that.
        self.note = note
        self.id, self.prompt = call.get("call", ""), call.get("prompt")
        self.node = f"{call['class']} (node {call['node']})" if "class" in call else ""
        #: Whether its values have not been read yet: then it holds no lease on them.
        self.unread = True
        self.cancelled = self.ended = False
        #: Of what it may write into (`hidden.py`).
        self.copies: Any = []
        #: An interrupt waits until what it shows is written: half a frame would end the link.
        self.writing = False
        #: Of an async node.
        self.task: asyncio.Task[Any] | None = None
        #: When its progress was last told.
        self.told = 0.0
        #: The newest preview, which waits until ComfyUI has looked at earlier ones.
        self.preview: tuple[dict[str, Any], list[str]] | None = None

    def raise_if_cancelled(self, shows: bool = True) -> None:
        """`shows`: where it shows something. Else it is raised in the middle of whatever code, and no node listens for it there."""
        if self.cancelled and not self.ended:
            raise interrupt_of_comfyui() if shows else Interrupted()


#: The call that the code of this context belongs to: tasks of an event loop and `asyncio.to_thread` inherit it.
current_call: contextvars.ContextVar[Running | None] = contextvars.ContextVar("envmanager_call", default=None)


class Runnings:
    """All that run now. Several at once, if they are async nodes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: dict[str, Running] = {}
        self._early: set[str] = set()
        #: The call that has the main thread for itself.
        self.on_main: Running | None = None
        self._flagged = False

    def begin(self, running: Running) -> None:
        """Raises NODE_INTERRUPTED if it was cancelled before."""
        with self._lock:
            if running.id in self._early:
                self._early.discard(running.id)
                raise interrupted()
            self._live[running.id] = running
        if self._flagged:
            self._flag(False)  # it was for another

    def end(self, running: Running) -> None:
        """It shows nothing any more, and no interrupt reaches it."""
        with self._lock:
            running.ended = True
            self._live.pop(running.id, None)
        if self._flagged or "comfy.model_management" in sys.modules:  # the node itself may have raised it
            self._flag(False)

    @property
    def busy(self) -> bool:
        """Whether a call runs."""
        return bool(self._live)

    def current(self) -> Running | None:
        """The call that this code belongs to. A thread that a node has started says nothing of that: then whichever runs."""
        found = current_call.get()
        if found is None:
            found = self.on_main or next(reversed(list(self._live.values())), None)
        return None if found is None or found.ended else found

    def cancel(self, call: str) -> None:
        """Reader thread: ask a call to stop, or keep a waiting one from starting."""
        with self._lock:
            running = self._live.get(call)
            if running is None:
                if len(self._early) >= _MOST_EARLY:
                    self._early.clear()
                self._early.add(call)
                return
            running.cancelled = True
            # ComfyUI's flag is one for the process: it is raised only where no other call could take it for its own
            alone = self.on_main is running or len(self._live) == 1
        if alone:
            self._flag(True)
        _cancel_task(running)

    def insist(self) -> None:
        """Main thread, on SIGINT: raises inside the Python code that runs, if its call was cancelled."""
        running = current_call.get() or self.on_main
        if running is not None and not running.writing:
            running.raise_if_cancelled(shows=False)
        for waiting in list(self._live.values()):
            if waiting.cancelled:
                _cancel_task(waiting)

    def _flag(self, value: bool) -> None:
        self._flagged = value
        management = sys.modules.get("comfy.model_management")
        if management is not None and hasattr(management, "interrupt_current_processing"):
            management.interrupt_current_processing(value)


def _cancel_task(running: Running) -> None:
    if running.task is not None:
        running.task.get_loop().call_soon_threadsafe(running.task.cancel)


def interrupted() -> CodedError:
    """How a cancelled call ends."""
    return CodedError("NODE_INTERRUPTED", "The call was cancelled.", "")
