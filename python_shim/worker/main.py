"""The worker's threads: the main one runs the nodes; one listens and is never busy; one does what ComfyUI does
on its web server's thread (`side.py`); one tidies up."""

from __future__ import annotations

import _thread
import contextlib
import faulthandler
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any, BinaryIO

from ..wire import PROTOCOL_VERSION, library
from ..wire.errors import CodedError
from ..wire.frames import to_json
from ..wire.peer import as_error
from . import dynamic_vram, ending, forks, host_modules, host_start, loader
from .channel import Channel, take_standard_streams
from .memory import limit_memory
from .parent import die_with_parent
from .runner import Runner
from .running import Running
from .side import Side
from .tasks import Tasks

#: How often leases that ended between two calls are told, and unused memory is looked for, in seconds.
TIDY = 0.2
#: So many different sentences of our own go into a worker's log.
_MOST_SAID = 100


class Worker:
    """Takes tasks on the main thread and lines on the reader thread."""

    def __init__(self, lines: BinaryIO | None, channel: Channel, tasks: Tasks) -> None:
        self._lines, self._channel, self._tasks = lines, channel, tasks
        self._runner = Runner(channel)
        self._side = Side(self._runner, channel)
        tasks.drop = self._runner.release
        self._said: set[str] = set()

    def run(self) -> None:
        """Serve until the bridge closes the link or goes away."""
        if self._lines is not None:
            threading.Thread(target=self._read, args=(self._lines,), name="envmanager-read", daemon=True).start()
        threading.Thread(target=self._tidy, name="envmanager-tidy", daemon=True).start()
        signal.signal(signal.SIGINT, self._runner.on_sigint)
        for header, body, source in self._tasks:
            self._serve(header, body, source)
        ending.leave()

    def _serve(self, header: dict[str, Any], body: bytes, source: Any) -> None:
        number = header["id"]
        running = Running(header.get("call", {}), lambda note, leases: source.note(number, note, leases))
        try:
            result = self._do(running, header, body)
        except BaseException as error:  # noqa: BLE001 - whatever a pack raises is an answer
            return self._answer(running, number, source, b"", error)
        if isinstance(result, bytes):
            return self._answer(running, number, source, result)
        source.put_off()
        self._tasks.loop.start(self._later(running, number, source, result), running)

    async def _later(self, running: Running, number: int, source: Any, waits: Coroutine[Any, Any, bytes]) -> None:
        """The answer of an async node, which runs beside others."""
        result, failed = b"", None
        try:
            result = await waits
        except BaseException as error:  # noqa: BLE001 - as above
            failed = error
        try:
            self._answer(running, number, source, result, failed)
        finally:
            source.done()

    def _answer(self, running: Running, number: int, source: Any, result: bytes, error: BaseException | None = None) -> None:
        if forks.is_child():
            forks.leave_child(error)
        request: dict[str, Any] = {"id": number}
        if error is not None:
            request["error"] = as_error(error)
            if running.unread:
                request["unread"] = True
        released = self._runner.mapped.let_go()
        if released:
            request["released"] = released
        try:
            source.answer(request, result)
        except CodedError as refused:
            source.answer({**request, "error": refused.wire()})
        self._runner.mapped.settle()  # the answer is on its way: now is the time

    def _do(self, running: Running, header: dict[str, Any], body: bytes) -> bytes | Coroutine[Any, Any, bytes]:
        if "folders" in header:
            host_modules.set_folders(header["folders"])
        if "unload" in header:
            self._runner.unload()
        if "released" in header:
            self._runner.release(header["released"])
        if "function" in header:
            return self._runner.call_function(running, header["function"], json.loads(body))
        if "call" in header:
            return self._runner.call(running, json.loads(body))
        if "hello" in header:
            return to_json(self._hello(header["hello"])).encode()
        if "load" in header:
            return to_json(self._load(header["load"])).encode()
        return b"{}"

    def _hello(self, params: dict[str, Any]) -> dict[str, Any]:
        if params["protocol"] != PROTOCOL_VERSION:
            told = f"the bridge speaks protocol {params['protocol']}, this worker {PROTOCOL_VERSION}"
            raise CodedError("PROTOCOL_VERSION", told, "Restart ComfyUI so that all parts are of one version.")
        self._runner.kept.worker = params["worker"]
        if params["folders"] is not None:
            host_modules.install(params["folders"], self._runner)
        self._side.socket = params["socket"]
        if params["calls"] is not None:
            self._tasks.listen(params["calls"])
        return {"protocol": PROTOCOL_VERSION, "pid": os.getpid(), "python": platform.python_version()}

    def _load(self, params: dict[str, Any]) -> dict[str, Any]:
        loaded = loader.load_pack(params["pack"], params["dir"], self._runner.encode_schema)
        self._runner.packs[params["pack"]] = loaded.classes
        self._runner.codes[params["pack"]] = loaded.report["code"]
        self._side.packs[params["pack"]] = loaded
        return {**loaded.report, **self._side.offer()}

    def _read(self, lines: BinaryIO) -> None:
        for line in lines:
            try:
                message = json.loads(line)
                if "id" not in message:
                    self._notified(message["method"], message["params"])
                elif message["method"] == "worker.ping":
                    self._channel.send({"id": message["id"], "result": self._alive()})
                else:
                    self._side.ask(message)
            except Exception as error:  # noqa: BLE001 - what one message does wrong, the others do not pay for
                self._say(f"a message could not be taken: {type(error).__name__}: {error}")
        ending.leave()

    def _alive(self) -> dict[str, Any]:
        return {"busy": self._runner.calls.busy, "beside_ms": self._side.work.ago_ms()}

    def _notified(self, method: str, params: dict[str, Any]) -> None:
        runner, tasks = self._runner, self._tasks
        if method == "call.cancel":
            runner.calls.cancel(params["call"])
        elif method == "worker.interrupt":
            _thread.interrupt_main()  # `on_sigint` runs there
        elif method == "lease.release":
            runner.release(params["leases"])
        elif method == "handle.release":
            runner.kept.drop(params["handles"])
        elif method == "instance.release":  # where nodes run: what these hold ends there
            tasks.beside(lambda: runner.instances.release(params["instances"]))
        elif method == "prompt.ended":
            tasks.beside(lambda: tasks.loop.end_prompt(params["prompt"]))
            tasks.beside(lambda: runner.contexts.end(params["prompt"]))
            tasks.beside(lambda: dynamic_vram.prompt_ended(params["prompt"]))
            tasks.beside(host_start.restore_functions)
        elif method == "worker.relax":
            runner.relax()
        elif method == "calls.close":
            tasks.close()

    def _tidy(self) -> None:
        """Most leases are told with an answer; what ends later is told here."""
        while True:
            time.sleep(TIDY)
            for work in (self._tell_released, self._runner.pool.shrink, self._runner.mapped.forget_unused):
                try:
                    work()
                except Exception as error:  # noqa: BLE001 - a system without memory may have some again
                    self._say(f"tidying up failed: {type(error).__name__}: {error}")

    def _tell_released(self) -> None:
        released = self._runner.mapped.let_go() if self._lines is not None else []
        if released:
            self._channel.notify("lease.release", {"leases": released})

    def _say(self, what: str) -> None:
        """In the worker's log, once."""
        if what not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(what)
            print(f"[comfyui-envmanager] {what}", file=sys.stderr, flush=True)


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
