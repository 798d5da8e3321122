"""How many calls of a pack are under way at once. ComfyUI starts every node that is ready, and there may be hundreds: what waits, waits
here, before its inputs take shared memory.
"""

from __future__ import annotations

import asyncio
import weakref

#: A worker runs its async nodes beside each other, the others one after the other.
MOST = 64


class Turns:
    """Turns of each prompt, in the order of asking: with the prompt's event loop they are gone, whatever it has left behind."""

    def __init__(self) -> None:
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = weakref.WeakKeyDictionary()

    def of(self, pack: str) -> asyncio.Semaphore:
        """Wait for a turn with `async with`."""
        packs = self._by_loop.setdefault(asyncio.get_running_loop(), {})
        if pack not in packs:
            packs[pack] = asyncio.Semaphore(MOST)
        return packs[pack]
