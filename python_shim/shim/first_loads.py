"""First loads: packs that run isolated and of whose classes nothing that still counts is known. ComfyUI's start leaves them out; their
workers load them side by side when it is over, and prompts that need them wait for them here.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from . import log
from .node_owners import mappings
from .registry import Registry

#: Asks the bridge to load a pack in a worker; returns the `LoadedPack` of the schemas.
LoadInWorker = Callable[[str], Awaitable[dict[str, Any]]]


class Held(Exception):
    """A prompt that waited was cancelled. `packs`: those it waited for."""

    def __init__(self, packs: list[str]) -> None:
        super().__init__(f"Cancelled while it waited for {', '.join(packs)} to load.")
        self.packs = packs


class _Waiting:
    """A prompt that waits, its id if it has one, and the browser that has sent it."""

    def __init__(self, prompt: str | None, browser: str | None) -> None:
        self.prompt, self.browser = prompt, browser
        self.changed, self.is_cancelled = asyncio.Event(), False


class FirstLoads:
    """All of them in this ComfyUI. Everything but `add` runs in the loop of its web server."""

    def __init__(self, registry: Registry, load: LoadInWorker, on_waiting: Callable[[list[str], str | None], None]) -> None:
        self._registry, self._load = registry, load
        #: Told of a prompt that waits: for which packs (none: it goes on), and the browser that has sent it.
        self._on_waiting = on_waiting
        #: Packs under way, in ComfyUI's order of loading.
        self._packs: list[str] = []
        self._waiting: list[_Waiting] = []
        #: The event loop itself keeps no task alive.
        self._task: asyncio.Task[None] | None = None

    def add(self, pack: str, folder: str) -> None:
        """ComfyUI's load has come to this pack."""
        self._registry.leave_out(pack, folder)
        self._packs.append(pack)

    @property
    def are_under_way(self) -> bool:
        """Whether classes of a pack may still come."""
        return bool(self._packs)

    def start(self) -> asyncio.Task[None]:
        """Load them all, side by side."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self._task

    async def _run(self) -> None:
        if self._packs:
            log.info("comfyui-envmanager: %s: loading.", ", ".join(self._packs))
        beside = asyncio.Semaphore(max(2, min(8, os.cpu_count() or 1)))  # each import takes a core and its memory
        await asyncio.gather(*(self._one(pack, beside) for pack in list(self._packs)))

    async def _one(self, pack: str, beside: asyncio.Semaphore) -> None:
        try:
            async with beside:
                report = await self._load(pack)
            await asyncio.to_thread(self._registry.first_loaded, pack, report)
        except Exception as error:  # noqa: BLE001 - one pack's fault stays its own, and the panel tells
            log.warning("comfyui-envmanager: %s runs isolated and could not be loaded: %s", pack, error)
            await asyncio.to_thread(self._registry.first_load_failed, pack, "".join(traceback.format_exception_only(error)).strip())
        finally:
            self._packs.remove(pack)
            for waiting in self._waiting:
                waiting.changed.set()

    async def hold(self, classes: Iterable[str], prompt: str | None, browser: str | None) -> None:
        """Wait while a node class of a prompt is unknown and packs are under way. Raises Held if the prompt is cancelled."""
        wanted, waiting, packs = set(classes), _Waiting(prompt, browser), []
        if not self._waits(wanted):
            return
        self._waiting.append(waiting)
        try:
            while self._waits(wanted) and not waiting.is_cancelled:
                packs = list(self._packs)
                log.info("comfyui-envmanager: a prompt waits for %s to load.", ", ".join(packs))
                self._on_waiting(packs, browser)
                waiting.changed.clear()
                await waiting.changed.wait()
            if waiting.is_cancelled:
                raise Held(packs)
        finally:
            self._waiting.remove(waiting)
            others = any(other.browser == browser for other in self._waiting)
            self._on_waiting(list(self._packs) if others else [], browser)

    def _waits(self, wanted: set[str]) -> bool:
        return self.are_under_way and not wanted <= mappings().keys()

    def cancel(self, prompts: Iterable[str] | None) -> None:
        """Cancel prompts that wait: those with these ids, or all."""
        named = None if prompts is None else set(prompts)
        for waiting in self._waiting:
            if named is None or waiting.prompt in named:
                waiting.is_cancelled = True
                waiting.changed.set()
