"""How a worker ends when it is told to: what packs have written is on disk then, and nothing of theirs can keep it."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys
import threading
import time
from typing import Any

#: Seconds for all of it; the bridge waits two (`STOP_MS` of `worker.ts`).
LIMIT = 1.5
_begun = threading.Lock()


def leave(limit: float = LIMIT) -> None:
    """End this process. No interpreter is taken down: threads of packs that still run make that crash or hang."""
    if not _begun.acquire(blocking=False):
        time.sleep(limit)
        os._exit(0)
    threading.Thread(target=_end_after, args=(limit,), name="envmanager-end", daemon=True).start()
    flush_files()
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()  # what packs wanted done at the end; each prints its own error
    flush_files()
    os._exit(0)


def _end_after(limit: float) -> None:
    time.sleep(limit)
    os._exit(0)


def flush_files() -> None:
    """Write what lies in the buffers of open files, as Python does at its end; texts first, whose buffers lie above the others."""
    files: list[Any] = [sys.stdout, sys.stderr]
    files += [found for found in gc.get_objects() if isinstance(found, io.IOBase)]
    for file in sorted(files, key=lambda file: not isinstance(file, io.TextIOBase)):
        with contextlib.suppress(Exception):  # closed, broken, or not for writing
            if not file.closed and file.writable():
                file.flush()
