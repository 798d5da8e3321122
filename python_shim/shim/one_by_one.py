"""Calls of one node for the items of a list, as ComfyUI makes them inside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


class OneByOne:
    """Runs one after the other, in the order of asking, and none after one that has failed (`_async_map_node_over_list` of `execution.py`,
    for a function that is no coroutine function). Here each is a task of ComfyUI's, since the work is elsewhere."""

    def __init__(self) -> None:
        self._last: asyncio.Future[None] | None = None

    async def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """The result of `work`. Raises CancelledError where one before it has failed."""
        before, mine = self._last, asyncio.get_running_loop().create_future()
        self._last = mine
        try:
            if before is not None:
                await asyncio.shield(before)
            result = await work()
            mine.set_result(None)
            return result
        finally:
            if not mine.done():
                mine.cancel()
