"""The places where we step into ComfyUI.

Each is tried by itself: one that this ComfyUI does not have, or has in another shape, costs the feature that needs it and
nothing else, and is said in the log and in the panel.
"""

from __future__ import annotations

from collections.abc import Callable

from . import log


class Hooks:
    """`missing`: a sentence for each place that was not there."""

    def __init__(self) -> None:
        self.missing: list[str] = []

    def step_in(self, without: str, where: str, work: Callable[[], object]) -> None:
        """Do it. `without`: what does not work if it fails; `where`: ComfyUI's name of the place."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - ComfyUI goes on as if we were not there
            self.lost(without, f"it has no {where} as we know it ({type(error).__name__}: {error})")

    def lost(self, without: str, why: str) -> None:
        """A feature does not work, for this reason."""
        sentence = f"This ComfyUI is one that we do not know: {why}. {without}"
        self.missing.append(sentence)
        log.warning("comfyui-envmanager: %s", sentence)
