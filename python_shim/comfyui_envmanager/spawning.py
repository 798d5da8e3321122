"""Starts processes from a thread that lives as long as this one: Linux ends a worker with the *thread* that started it
(`man 2 prctl`, PR_SET_PDEATHSIG), and callers' threads come and go."""

from __future__ import annotations

import queue
import subprocess
import threading
from concurrent.futures import Future
from typing import Any

#: What every worker is started with; the same as in `bridge/workers/launch.ts`, where the reasons are.
ENVIRONMENT = {
    "COMFYUI_ISOLATION_WORKER": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONUTF8": "1",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "67108864",
    "GLIBC_TUNABLES": "glibc.cpu.x86_non_temporal_threshold=4194304",
}

_lock = threading.Lock()
_thread: threading.Thread | None = None
_wanted: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], list[str], dict[str, Any]]] = queue.SimpleQueue()


def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """`subprocess.Popen`, on our thread."""
    global _thread, _wanted
    with _lock:
        if _thread is None or not _thread.is_alive():  # the first, or this process was forked from one that has it
            _wanted = queue.SimpleQueue()
            _thread = threading.Thread(target=_serve, args=(_wanted,), name="envmanager-start", daemon=True)
            _thread.start()
    started: Future[subprocess.Popen[bytes]] = Future()
    _wanted.put((started, command, options))
    return started.result()


def _serve(wanted: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], list[str], dict[str, Any]]]) -> None:
    while True:
        started, command, options = wanted.get()
        try:
            process: Any = subprocess.Popen(command, **options)
            started.set_result(process)
        except BaseException as error:  # noqa: BLE001 - for the caller
            started.set_exception(error)
