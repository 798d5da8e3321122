"""Inside ComfyUI each prompt has a context of its own: what a node sets in it, as `numpy.seterr` does, ends with the prompt."""

from __future__ import annotations

import contextvars


class Contexts:
    """The context of the prompt whose nodes run here. Main thread."""

    def __init__(self) -> None:
        self._prompt: str | None = None
        self._context = contextvars.copy_context()

    def of(self, prompt: str | None) -> contextvars.Context:
        """That of a prompt; a new one for what is of none."""
        if prompt is None or prompt != self._prompt:
            self._prompt, self._context = prompt, contextvars.copy_context()
        return self._context

    def end(self, prompt: str) -> None:
        """Let go of what a prompt's nodes have set."""
        if prompt == self._prompt:
            self.of(None)
