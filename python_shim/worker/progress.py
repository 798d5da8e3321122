"""What a running node shows: its progress bar, preview images, text and events for the browser."""

from __future__ import annotations

import base64
import math
import sys
import time
from typing import TYPE_CHECKING, Any

from ..wire.encoder import Encoder
from ..wire.errors import CodedError
from ..wire.frames import to_json
from .previews import Previews
from .running import Running

if TYPE_CHECKING:
    from .runner import Runner

#: Progress goes out at most this often, in seconds; the last step always does.
PROGRESS_EVERY = 0.02
#: An event with more data than this, as text, has it in shared memory: headers of frames are short.
_LARGE = 1 << 16
_LONGEST_NAME = 1000


class Progress:
    """Takes over ComfyUI's progress hooks in the worker, and passes on what comes."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._hooked: set[str] = set()
        self._previews = Previews(self._drop)
        self._said_full = False

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

    def report(self, value: Any, total: Any, preview: Any = None) -> None:
        """Report progress of the call that this code belongs to; raises Interrupted if it was cancelled."""
        running = self._runner.calls.current()
        if running is None or running.aside:
            return
        running.raise_if_cancelled()
        now, done, of = time.monotonic(), _number(value), _number(total)
        if done is None or of is None or (done < of and now - running.told < PROGRESS_EVERY):
            return
        running.told = now
        params: dict[str, Any] = {"call": running.id, "value": done, "total": of}
        leases: list[str] = []
        if preview is not None:
            try:
                params["preview"], leases = self._image(preview)
            except CodedError as error:
                if error.code != "MEMORY_FULL":  # without memory for it there is no picture: no reason for a node to fail
                    raise
        self._show(running, {"progress": params}, leases)

    def _image(self, preview: Any) -> tuple[Any, list[str]]:
        """`(format, PIL image, largest side)`, as samplers give it (`latent_preview.py`), with the pixels as bytes. And their leases: by
        their end we know that the picture was looked at, so small ones have one too."""
        kind, image, largest = preview if isinstance(preview, tuple) else ("JPEG", preview, None)
        encoder = Encoder(self._runner.pool)
        where = "a preview image"
        value = [encoder.encode(part, where) for part in (kind, image, largest)]
        picture = value[1]["v"] if isinstance(value[1], dict) and value[1]["$"] == "pil" else None
        if picture is not None and isinstance(picture[2], dict) and picture[2]["$"] == "bytes":  # mode, size, pixels
            picture[2] = encoder.encode(bytearray(base64.b64decode(picture[2]["v"])), where)
        return value, encoder.leases

    def event(self, event: Any, data: Any, sid: Any = None) -> None:
        """Pass on what a pack sends to the browser: an event with a name, or a binary one with a number."""
        number = isinstance(event, int) and 0 <= event < 1 << 32
        self._send(int(event) if number else str(event), data, sid, text=False)

    def text(self, text: str, sid: Any = None) -> None:
        """Show text on the running node."""
        self._send("progress_text", text, sid, text=True)

    def _send(self, event: str | int, data: Any, sid: Any, text: bool) -> None:
        if isinstance(event, str) and len(event) > _LONGEST_NAME:
            raise ValueError(f"The name of an event is {len(event)} characters long; {_LONGEST_NAME} are enough.")
        running = self._runner.calls.current()
        shown = None if running is None or running.aside else running
        # as ComfyUI, which looks it up among its clients: what is no name of one reaches nobody
        whom = None if sid is None else str(sid)[:_LONGEST_NAME]
        params: dict[str, Any] = {"call": shown and shown.id, "event": event, "text": text, "sid": whom}
        try:
            encoded, leases = self._data(data, f"the event {event}")
        except CodedError as error:
            if error.code != "MEMORY_FULL":
                raise
            return self._say_full(error)
        params |= encoded
        if shown is not None:
            self._show(shown, {"event": params}, leases)
        else:
            self._runner.channel.notify("host.event", params)

    def _data(self, data: Any, path: str) -> tuple[dict[str, Any], list[str]]:
        """Data only: objects stay. Much of it lies in shared memory as text."""
        encoder = Encoder(self._runner.pool)
        value = encoder.encode(data, path)
        text = to_json(value)
        if len(text) <= _LARGE:
            return {"data": value}, encoder.leases
        return {"data": encoder.encode(text, path), "packed": True}, encoder.leases

    def _show(self, running: Running, note: dict[str, Any], leases: list[str]) -> None:
        running.writing = True
        try:
            if "preview" in note.get("progress", ()):
                self._previews.show(running, note, leases)
            else:
                running.note(note, leases)
        finally:
            running.writing = False
        running.raise_if_cancelled()

    def _drop(self, leases: list[str]) -> None:
        for lease in leases:
            self._runner.pool.release(lease)

    def _say_full(self, error: CodedError) -> None:
        if not self._said_full:
            self._said_full = True
            print(f"[comfyui-envmanager] An event for the browser was not sent: {error}", file=sys.stderr, flush=True)

    def released(self, leases: list[str]) -> None:
        """Any thread: ComfyUI has let go of these."""
        self._previews.released(leases)

    def ended(self, running: Running) -> None:
        """A call has ended: what it has not shown yet is not shown."""
        self._previews.ended(running)


def _number(value: Any) -> float | None:
    """None for what is none, and for NaN and infinity: no bar shows these."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return number if math.isfinite(number) else None


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
