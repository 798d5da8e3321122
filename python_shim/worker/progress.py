"""What a running node shows: its progress bar, preview images, text and events for the browser."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runner import Runner

#: Progress goes out at most this often, in seconds; the last step always does.
PROGRESS_EVERY = 0.02


class Progress:
    """Takes over ComfyUI's progress hooks in the worker, and passes on what comes."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._sent = 0.0
        self._hooked: set[str] = set()

    def hook(self) -> None:
        """Take over `comfy.utils.ProgressBar` and the newer progress registry, once the pack has imported them."""
        if len(self._hooked) == 2:
            return
        utils = sys.modules.get("comfy.utils")
        if "bar" not in self._hooked and utils is not None and hasattr(utils, "set_progress_bar_global_hook"):
            utils.set_progress_bar_global_hook(lambda value, total, preview=None, node_id=None: self.report(value, total, preview))
            self._hooked.add("bar")
        registry = sys.modules.get("comfy_execution.progress")
        if "registry" not in self._hooked and registry is not None and hasattr(registry, "ProgressHandler"):
            registry.get_progress_state().register_handler(_handler(registry.ProgressHandler, self))
            self._hooked.add("registry")

    def report(self, value: float, total: float, preview: Any = None) -> None:
        """Report progress of the running call; raises Interrupted if it was cancelled."""
        call = self._runner.current
        if call is None:
            return
        self._runner.raise_if_cancelled()
        now = time.monotonic()
        if value < total and now - self._sent < PROGRESS_EVERY:
            return
        self._sent = now
        params: dict[str, Any] = {"call": call, "value": float(value), "total": float(total)}
        if preview is not None:
            params["preview"] = self._image(preview)
        self._runner.show({"progress": params})

    def _image(self, preview: Any) -> Any:
        """`(format, PIL image, largest side)`, as samplers give it (`latent_preview.py`), with the pixels as bytes."""
        kind, image, largest = preview if isinstance(preview, tuple) else ("JPEG", preview, None)
        return self._runner.encode_event([kind, image, largest], "a preview image")

    def event(self, event: Any, data: Any, sid: str | None = None) -> None:
        """Pass on what a pack sends to the browser: an event with a name, or a binary one with a number."""
        self._send(event if isinstance(event, int) else str(event), data, sid, text=False)

    def text(self, text: str, sid: str | None = None) -> None:
        """Show text on the running node."""
        self._send("progress_text", text, sid, text=True)

    def _send(self, event: str | int, data: Any, sid: str | None, text: bool) -> None:
        value = self._runner.encode_event(data, f"the event {event}")
        params = {"call": self._runner.current, "event": event, "data": value, "text": text, "sid": sid}
        if params["call"] is not None:
            self._runner.show({"event": params})
        else:
            self._runner.channel.notify("host.event", params)


def _handler(base: Any, progress: Progress) -> Any:
    class Handler(base):  # type: ignore[misc]
        """What `ComfyAPI.execution.set_progress` reaches (`comfy_execution/progress.py`)."""

        def start_handler(self, *args: Any, **kwargs: Any) -> None:
            """Nothing: the host shows that a node runs."""

        def update_handler(self, node_id: Any, value: float, max_value: float, state: Any, prompt_id: Any, image: Any = None) -> None:
            """One step."""
            progress.report(value, max_value, image)

        def finish_handler(self, *args: Any, **kwargs: Any) -> None:
            """Nothing: the host shows that a node has run."""

    return Handler("envmanager")
