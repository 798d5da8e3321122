"""How many calls of a pack are under way at once. ComfyUI starts every node that is ready, and there may be hundreds: what waits, waits
here, before its inputs take shared memory.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import threading

#: A worker runs one after the other; as many as a pack may have workers (`schemas/care.ts`).
MOST = 16


class Turns:
    """Gives turns in the order of asking. Safe for threads: prompts and the web server have loops of their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, int] = collections.defaultdict(int)
        self._waiting: dict[str, collections.deque[asyncio.Future[None]]] = collections.defaultdict(collections.deque)

    async def take(self, pack: str) -> None:
        """Wait for a turn; `give` it back."""
        with self._lock:
            if self._taken[pack] < MOST:
                self._taken[pack] += 1
                return
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[pack].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            with self._lock, contextlib.suppress(ValueError):
                self._waiting[pack].remove(turn)
            if turn.done() and not turn.cancelled():
                self.give(pack)
            raise

    def give(self, pack: str) -> None:
        """A call has ended: the next one may begin."""
        with self._lock:
            while self._waiting[pack]:
                turn = self._waiting[pack].popleft()
                try:
                    turn.get_loop().call_soon_threadsafe(self._hand, pack, turn)
                    return
                except RuntimeError:  # its prompt has ended
                    continue
            self._taken[pack] -= 1

    def _hand(self, pack: str, turn: asyncio.Future[None]) -> None:
        if turn.cancelled():
            self.give(pack)
        else:
            turn.set_result(None)
