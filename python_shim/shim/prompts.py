"""Which prompt runs. ComfyUI's node classes change between two prompts only: its executor looks a class up outside of any `try`, and a name
that is missing there would end the thread that runs all prompts.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class Prompts:
    """Safe for threads: a prompt begins on ComfyUI's prompt thread, changes are made on others."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: set[str] = set()
        self._changing = 0
        #: Told of each prompt that has ended.
        self.on_end: list[Callable[[str], None]] = []

    def begin(self, prompt: str) -> None:
        """Waits while a change is made."""
        with self._changed:
            self._changed.wait_for(lambda: self._changing == 0)
            self._running.add(prompt)

    def end(self, prompt: str) -> None:
        """It has ended, in whatever way."""
        with self._changed:
            self._running.discard(prompt)
            self._changed.notify_all()
        for told in self.on_end:
            told(prompt)

    @property
    def running(self) -> bool:
        """Whether one runs now."""
        return bool(self._running)

    @contextlib.contextmanager
    def between(self) -> Iterator[None]:
        """Wait until no prompt runs. The next one waits from now on, so that a full queue does not put the change off for ever."""
        with self._changed:
            self._changing += 1
        try:
            with self._changed:
                self._changed.wait_for(lambda: not self._running)
            yield
        finally:
            with self._changed:
                self._changing -= 1
                self._changed.notify_all()
