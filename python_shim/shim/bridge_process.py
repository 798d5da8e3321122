"""Starts the bridge beside ComfyUI, never before it, and starts it again when it dies."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from . import bridge_log, log, places
from .run_folder import run_folder

#: Deaths within this many seconds count together …
WINDOW = 300.0
#: … and after this many the bridge stays down, unless `COMFY_ENV_BRIDGE_DEATHS` says another number.
MOST_DEATHS = 4
#: Seconds before the next start, after the first death, the second, and all later ones.
PAUSES = (0.5, 1.0, 2.0)


def most_deaths() -> int | places.Missing:
    """How many deaths within `WINDOW` leave the bridge down: `COMFY_ENV_BRIDGE_DEATHS`, else `MOST_DEATHS`."""
    chosen = os.environ.get("COMFY_ENV_BRIDGE_DEATHS")
    if not chosen:
        return MOST_DEATHS
    if re.fullmatch("[1-9][0-9]{0,5}", chosen):
        return int(chosen)
    return places.Missing(
        f"COMFY_ENV_BRIDGE_DEATHS is {chosen[:40]!r}, which is no whole number from 1 to 999999.",
        "Correct it or remove it, then restart ComfyUI.",
    )


class BridgeProcess:
    """Runs `comfy-env serve --parent`. The bridge ends when our end of its standard input closes, however we end.

    `status` is ("starting" | "running" | "failed", message, hint); `on_status` is told of each change.
    """

    def __init__(self, home: pathlib.Path, comfyui: str, on_ready: Callable[[], None], on_status: Callable[[], None]) -> None:
        self.home, self._comfyui = home, comfyui
        self._on_ready, self._on_status = on_ready, on_status
        self.status: tuple[str, str, str] = ("starting", "The bridge is starting.", "")
        self._process: subprocess.Popen[bytes] | None = None
        #: Which bridge it is, counted.
        self.number = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        """A forked child would hold the bridge's standard input open, by whose end it hears of ours."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def is_running(self, number: int) -> bool:
        """Whether that bridge's process has not ended, by the kernel's word."""
        return number == self.number and self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Begin on a thread of its own: ComfyUI's start does not wait."""
        threading.Thread(target=self._run, name="envmanager-bridge", daemon=True).start()

    def _set(self, status: str, message: str, hint: str = "") -> None:
        self.status = (status, message, hint)
        self._on_status()

    def _fail(self, why: places.Missing) -> None:
        log.warning("comfyui-envmanager: %s %s", why.message, why.hint)
        self._set("failed", why.message, why.hint)

    def _run(self) -> None:
        most = most_deaths()
        if isinstance(most, places.Missing):
            return self._fail(most)
        deaths: list[float] = []
        while True:
            missing = places.built()
            node = places.find_node() if missing is None else missing
            if isinstance(node, places.Missing):
                return self._fail(node)
            try:
                said = self._serve(node)
            except OSError as error:
                said = str(error)
            now = time.monotonic()
            deaths = [*(death for death in deaths if now - death < WINDOW), now]
            if len(deaths) >= most:
                hint = f"Restart ComfyUI. The log is {self._log_path()}."
                return self._set("failed", f"The bridge ended {most} times. {said}", hint)
            self._set("starting", f"The bridge ended and is started again. {said}")
            time.sleep(PAUSES[min(len(deaths), len(PAUSES)) - 1])

    def _log_path(self) -> pathlib.Path:
        return self.run / "bridge.log"

    @functools.cached_property
    def run(self) -> pathlib.Path:
        """The folder for what ends with a bridge."""
        return run_folder(self.home)

    def _serve(self, node: str) -> str:
        """Run one bridge to its end; returns the last thing it said."""
        self.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = dict(os.environ)
        uv = places.find_uv()
        if uv is not None:
            environment["COMFY_ENV_UV"] = uv
        command = [node, str(places.BRIDGE), "serve", "--parent", "--json"]
        command += ["--comfyui", self._comfyui, "--interpreter", sys.executable, "--home", str(self.home), "--run", str(self.run)]
        with bridge_log.opened(self._log_path()) as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=os.name != "nt",  # Ctrl-C is ComfyUI's; ours is the end of the pipe
            )
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        answer = _parse(first)
        if "port" in answer:
            self.number += 1
            self._set("running", "The bridge runs.")
            self._on_ready()
            self._process.stdout.read()
        code = self._process.wait()
        error = answer.get("error") or {}
        return error.get("message") or bridge_log.last_line(self._log_path()) or f"Its exit code was {code}."

    def connection(self) -> dict[str, Any]:
        """The bridge's port and token. Raises OSError or ValueError before it has written them."""
        return json.loads((self.run / "bridge.json").read_text())


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
