"""The worker's threads: the main one runs the nodes, one after the other; one listens and is never busy; one does what ComfyUI does
on its web server's thread (`side.py`); one tidies up."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import platform
import signal
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO

from ..wire import PROTOCOL_VERSION, library
from ..wire.errors import CodedError
from ..wire.frames import to_json
from ..wire.peer import as_error
from . import host_modules, loader
from .channel import Channel, take_standard_streams
from .memory import limit_memory
from .parent import die_with_parent
from .runner import Runner
from .side import Side
from .tasks import Tasks

#: How often leases that ended between two calls are told, and unused memory is looked for, in seconds.
TIDY = 0.2


class Worker:
    """Takes tasks on the main thread and lines on the reader thread."""

    def __init__(self, lines: BinaryIO | None, channel: Channel, tasks: Tasks) -> None:
        self._lines, self._channel, self._tasks = lines, channel, tasks
        self._runner = Runner(channel)
        self._side = Side(self._runner, channel)

    def run(self) -> None:
        """Serve until the bridge closes the link or goes away."""
        if self._lines is not None:
            threading.Thread(target=self._read, args=(self._lines,), name="envmanager-read", daemon=True).start()
        threading.Thread(target=self._tidy, name="envmanager-tidy", daemon=True).start()
        signal.signal(signal.SIGINT, self._runner.on_sigint)
        for header, body, source in self._tasks:
            self._serve(header, body, source)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(0)  # atexit handlers of packs may hang, and nothing of ours needs them

    def _serve(self, header: dict[str, Any], body: bytes, source: Any) -> None:
        request: dict[str, Any] = {"id": header["id"]}
        self._runner.unread = True
        self._runner.note = lambda note: source.note(header["id"], note)
        result = b""
        try:
            result = self._do(header, body)
        except BaseException as error:  # noqa: BLE001 - whatever a pack raises is an answer
            request["error"] = as_error(error)
            if self._runner.unread:
                request["unread"] = True
        released = self._runner.mapped.let_go()
        if released:
            request["released"] = released
        try:
            source.answer(request, result)
        except CodedError as error:
            source.answer({**request, "error": error.wire()})
        self._runner.mapped.settle()  # the answer is on its way: now is the time

    def _do(self, header: dict[str, Any], body: bytes) -> bytes:
        if "folders" in header:
            host_modules.set_folders(header["folders"])
        if "unload" in header:
            self._runner.unload()
        for lease in header.get("released", ()):
            self._runner.pool.release(lease)
        if "function" in header:
            return self._runner.call_function(header["function"], json.loads(body))
        if "call" in header:
            return self._runner.call(header["call"], json.loads(body))
        if "hello" in header:
            return to_json(self._hello(header["hello"])).encode()
        if "load" in header:
            return to_json(self._load(header["load"])).encode()
        return b"{}"

    def _hello(self, params: dict[str, Any]) -> dict[str, Any]:
        if params["protocol"] != PROTOCOL_VERSION:
            told = f"the bridge speaks protocol {params['protocol']}, this worker {PROTOCOL_VERSION}"
            raise CodedError("PROTOCOL_VERSION", told, "Restart ComfyUI so that all parts are of one version.")
        self._runner.worker = params["worker"]
        if params["folders"] is not None:
            host_modules.install(params["folders"], self._runner)
        self._side.socket = params["socket"]
        if params["calls"] is not None:
            self._tasks.listen(params["calls"])
        return {"protocol": PROTOCOL_VERSION, "pid": os.getpid(), "python": platform.python_version()}

    def _load(self, params: dict[str, Any]) -> dict[str, Any]:
        loaded = loader.load_pack(params["pack"], params["dir"], self._runner.encode_schema)
        self._runner.packs[params["pack"]] = loaded.classes
        self._side.packs[params["pack"]] = loaded
        return {**loaded.report, **self._side.offer()}

    def _read(self, lines: BinaryIO) -> None:
        for line in lines:
            message = json.loads(line)
            if "id" not in message:
                try:
                    self._notified(message["method"], message["params"])
                except Exception:  # noqa: BLE001 - what is told next is heard all the same
                    traceback.print_exc()
            elif message["method"] == "worker.ping":
                self._channel.send({"id": message["id"], "result": {"busy": self._runner.current is not None}})
            else:
                self._side.ask(message)
        os._exit(0)

    def _notified(self, method: str, params: dict[str, Any]) -> None:
        if method == "call.cancel":
            self._runner.cancel(params["call"])
        elif method == "lease.release":
            for lease in params["leases"]:
                self._runner.pool.release(lease)
        elif method == "handle.release":
            self._runner.drop_handles(params["handles"])
        elif method == "worker.relax":
            self._runner.relax()
        elif method == "calls.close":
            self._tasks.close()

    def _tidy(self) -> None:
        """Most leases are told with an answer; what ends later is told here."""
        while True:
            time.sleep(TIDY)
            released = self._runner.mapped.let_go() if self._lines is not None else []
            if released:
                self._channel.notify("lease.release", {"leases": released})
            self._runner.pool.shrink()
            self._runner.mapped.forget_unused()


def main() -> None:
    """Entry point of `python worker/`."""
    alone = "--alone" in sys.argv  # started by a program itself: tasks come where lines would
    lines, out = take_standard_streams()
    die_with_parent(int(os.environ.get("ENVMANAGER_PARENT", "0")))
    faulthandler.enable(all_threads=True)
    limit_memory()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    more_descriptors()
    library.provide()
    if alone:
        Worker(None, Channel(None), Tasks(lines.fileno(), out.fileno())).run()
    else:
        Worker(lines, Channel(out), Tasks()).run()


def more_descriptors() -> None:
    """Every large tensor that is kept takes one: use as many as the system allows, not the usual 1024."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
