"""The event loop of async nodes: one for the life of the worker, on its main thread, made for the first of them.

It runs while async work is left, and watches for tasks meanwhile. Else the main thread waits for tasks by itself: a small call has no
event loop on its way. As inside ComfyUI, a node that is not async holds up all others, and what an async node has left running ends with
its prompt.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import traceback
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from .running import Running, current_call


class NodeLoop:
    """Runs coroutines of nodes. All on the main thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Tasks that have not ended, and the prompt of each.
        self._tasks: dict[asyncio.Task[Any], str | None] = {}
        #: The prompt that has used the loop last, until its end: its callbacks and threads may want the loop also when no task is left.
        self._open: str | None = None
        self._watched: list[int] = []
        self._watch_of: Any = None
        #: Calls that have not been answered.
        self.calls = 0

    @property
    def busy(self) -> bool:
        """Whether it must run."""
        return bool(self._tasks) or self._open is not None

    def start(self, work: Coroutine[Any, Any, None], running: Running) -> None:
        """Begin with a call, up to where it first waits. `work` raises nothing."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._loop.set_task_factory(self._make)
        asyncio.set_event_loop(self._loop)  # `asyncio.run`, with which packs are loaded, leaves none
        context = contextvars.copy_context()
        context.run(current_call.set, running)
        self._open = running.prompt or self._open
        self.calls += 1
        running.task = context.run(self._loop.create_task, self._counted(work))
        self._loop.call_soon(self._loop.stop)
        self._run()

    async def _counted(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self.calls -= 1
            if self._loop is not None:
                self._loop.stop()  # whoever waits for tasks looks anew

    def wait(self, descriptors: list[int], version: object) -> None:
        """Run until one of these can be read, or a call has ended. `version`: another one for other descriptors."""
        assert self._loop is not None
        if version is not self._watch_of:
            for fd in self._watched:
                self._loop.remove_reader(fd)
            self._watched, self._watch_of = descriptors, version
            for fd in descriptors:
                self._loop.add_reader(fd, self._loop.stop)
        self._run()

    def wait_until(self, read: Future[bytes]) -> None:
        """Where an event loop cannot watch a pipe (Windows): run until a thread has read from it."""
        loop = self._loop
        assert loop is not None
        read.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
        while self.busy and not read.done():
            self._run()

    def end_prompt(self, prompt: str) -> None:
        """Cancel what the async nodes of a prompt have left."""
        for task, its in list(self._tasks.items()):
            if its == prompt:
                task.cancel()
        if self._open == prompt:
            self._open = None

    def _make(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        running = current_call.get()
        self._tasks[task] = None if running is None else running.prompt
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def _run(self) -> None:
        assert self._loop is not None
        try:
            with inference_mode():
                self._loop.run_forever()
        except BaseException:  # noqa: BLE001 - sys.exit() in what a node has left running ends that, not the worker
            traceback.print_exc()


def inference_mode(wanted: bool = True) -> Any:
    """As ComfyUI runs nodes; nothing where torch is not loaded."""
    torch = sys.modules.get("torch")
    return torch.inference_mode(wanted) if torch is not None else contextlib.nullcontext()
