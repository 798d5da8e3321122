"""Starts the bridge beside ComfyUI, never before it, and starts it again when it dies."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from . import bridge_log, log, places

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

    def __init__(
        self,
        home: pathlib.Path,
        comfyui: str,
        on_ready: Callable[[], None],
        on_status: Callable[[], None],
        base: str = "",
        temp: str = "",
    ) -> None:
        self.home, self._comfyui, self._base, self._temp = home, comfyui, base or comfyui, temp
        self._on_ready, self._on_status = on_ready, on_status
        self.status: tuple[str, str, str] = ("starting", "The bridge is starting.", "")
        self._process: subprocess.Popen[bytes] | None = None
        #: Which bridge it is, counted.
        self.number = 0
        #: The folder of what the bridge that runs shares with us; None before the first has said it.
        self.run: pathlib.Path | None = None
        self._starts = 0
        #: Hashes of texts are the same in every worker of this ComfyUI, as they are inside it from its start to its end.
        self._hash_seed = str(secrets.randbelow((1 << 32) - 1) + 1)
        #: What the last bridge has said, if that could be written down.
        self._log: pathlib.Path | None = None
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

    def comes_after(self, number: int) -> bool:
        """Whether another bridge than that one runs or is about to: it has ended, and we start the next."""
        return self.status[0] == "starting" or (self.status[0] == "running" and not self.is_running(number))

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
                refused = self._refusal(node)
                if refused is not None:
                    return self._fail(refused)
                said = self._serve(node)
            except OSError as error:
                said = str(error)
            now = time.monotonic()
            deaths = [*(death for death in deaths if now - death < WINDOW), now]
            if len(deaths) >= most:
                hint = "Restart ComfyUI." if self._log is None else f"Restart ComfyUI. The log is {self._log}."
                return self._set("failed", f"The bridge ended {most} times. {said}", hint)
            self._set("starting", f"The bridge ended and is started again. {said}")
            time.sleep(PAUSES[min(len(deaths), len(PAUSES)) - 1])

    def _refusal(self, node: str) -> places.Missing | None:
        """Why the bridge does not take the home for ours; None: it does, and has marked it. Raises OSError if it says nothing."""
        if places.is_ours(self.home):
            return None
        done = subprocess.run(
            self._command(node, "home"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self._environment(),
            check=False,
        )
        answer = _parse(done.stdout)
        if "home" in answer:
            return None
        error = answer.get("error")
        if not isinstance(error, dict):
            raise OSError(done.stderr.decode(errors="replace").strip() or f"Its exit code was {done.returncode}.")
        return places.Missing(str(error.get("message")), str(error.get("hint")))

    def _command(self, node: str, *what: str) -> list[str]:
        command = [node, str(places.BRIDGE), *what, "--json"]
        # a program that Python is built into may not know where Python lies
        interpreter = ["--interpreter", sys.executable] if sys.executable else []
        return [*command, "--comfyui", self._comfyui, *interpreter, "--home", str(self.home)]

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        environment.setdefault("PYTHONHASHSEED", self._hash_seed)
        uv, cache = places.find_uv(), places.cache()
        if uv is not None:
            environment["COMFY_ENV_UV"] = uv
        if cache is not None:
            environment["COMFY_ENV_CACHE"] = str(cache)
        environment["COMFY_ENV_BASE"], environment["COMFY_ENV_TEMP"] = self._base, self._temp
        return environment

    def _serve(self, node: str) -> str:
        """Run one bridge to its end; returns the last thing it said."""
        self._starts += 1
        with bridge_log.opened(self.home / "logs", self._starts) as said:
            self._log = said.path
            self._process = subprocess.Popen(
                self._command(node, "serve", "--parent"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said.file,
                env=self._environment(),
                start_new_session=os.name != "nt",  # Ctrl-C is ComfyUI's; ours is the end of the pipe
            )
            assert self._process.stdout is not None
            answer = _parse(self._process.stdout.readline())
            if "port" in answer:
                self.run = pathlib.Path(answer["run"])
                self.number += 1
                self._set("running", "The bridge runs.")
                self._on_ready()
                self._process.stdout.read()
            code = self._process.wait()
            error = answer.get("error") or {}
            return error.get("message") or said.last_line() or f"Its exit code was {code}."

    def connection(self) -> dict[str, Any]:
        """Port and token of the bridge that we have started, never of another. Raises OSError or ValueError before they are there."""
        if self.run is None:
            raise OSError("there is no bridge yet")
        return json.loads((self.run / "bridge.json").read_text())


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
