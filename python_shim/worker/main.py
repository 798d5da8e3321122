"""The worker's threads: a reader that is never busy, and the main thread that runs the nodes one after the other."""

from __future__ import annotations

import faulthandler
import json
import os
import platform
import queue
import signal
import sys
import threading
from typing import Any, BinaryIO

from ..wire import PROTOCOL_VERSION
from ..wire.errors import CodedError
from ..wire.peer import answer
from . import host_modules, loader
from .channel import Channel, take_standard_streams
from .parent import die_with_parent
from .runner import Runner


class Worker:
    """Takes requests on the reader thread, serves them on the main thread."""

    def __init__(self, requests: BinaryIO, channel: Channel) -> None:
        self._requests, self._channel = requests, channel
        self._work: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._runner = Runner(channel)

    def run(self) -> None:
        """Serve until the bridge says stop or goes away."""
        threading.Thread(target=self._read, name="envmanager-read", daemon=True).start()
        signal.signal(signal.SIGINT, self._runner.on_sigint)
        while True:
            try:
                message = self._work.get()
                if message is None:
                    break
                self._serve(message)
            except KeyboardInterrupt:
                continue  # an interrupt that came after its call had ended
        sys.stdout.flush()
        os._exit(0)  # atexit handlers of packs may hang, and nothing of ours needs them

    def _read(self) -> None:
        for line in self._requests:
            message = json.loads(line)
            if "id" in message and message["method"] == "worker.ping":
                self._channel.send({"id": message["id"], "result": {}})
            elif "id" in message:
                self._work.put(message)
            else:
                self._notified(message["method"], message["params"])
        os._exit(0)

    def _notified(self, method: str, params: dict[str, Any]) -> None:
        if method == "call.cancel":
            self._runner.cancel(params["call"])
        elif method == "lease.release":
            for lease in params["leases"]:
                self._runner.pool.release(lease)
        elif method == "handle.release":
            self._runner.drop_handles(params["handles"])
        elif method == "worker.shutdown":
            self._work.put(None)

    def _serve(self, message: dict[str, Any]) -> None:
        params, request = message["params"], message["id"]
        work = {
            "worker.hello": self._hello,
            "pack.load": self._load,
            "node.call": self._runner.call,
        }[message["method"]]
        self._channel.send(answer(request, lambda: work(params)))

    def _hello(self, params: dict[str, Any]) -> dict[str, Any]:
        if params["protocol"] != PROTOCOL_VERSION:
            told = f"the bridge speaks protocol {params['protocol']}, this worker {PROTOCOL_VERSION}"
            raise CodedError("PROTOCOL_VERSION", told, "Restart ComfyUI so that all parts are of one version.")
        self._runner.worker = params["worker"]
        if params["folders"] is not None:
            host_modules.install(params["folders"], self._runner)
        return {"protocol": PROTOCOL_VERSION, "pid": os.getpid(), "python": platform.python_version()}

    def _load(self, params: dict[str, Any]) -> dict[str, Any]:
        loaded = loader.load_pack(params["pack"], params["dir"], self._runner.encode_schema)
        self._runner.packs[params["pack"]] = loaded.classes
        return loaded.report


def main() -> None:
    """Entry point of `python worker/`."""
    requests, answers = take_standard_streams()
    die_with_parent(int(os.environ.get("ENVMANAGER_PARENT", "0")))
    faulthandler.enable(all_threads=True)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    Worker(requests, Channel(answers)).run()
