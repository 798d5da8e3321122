"""macOS: a process that does nothing but wait, and ends a worker's group when the bridge or the worker itself has ended.

macOS has no signal at a parent's death, and a worker that keeps Python's lock in native code sees nothing by itself.
"""

from __future__ import annotations

import os
import select
import signal
import sys

_FD_LIMIT = 256


def wait_for_end(pids: list[int]) -> None:
    """Return when one of the processes has ended, by the kernel's word: kqueue on macOS (`man 2 kqueue`), pidfds on Linux."""
    if sys.platform == "darwin":
        queue = select.kqueue()
        events = [
            select.kevent(pid, filter=select.KQ_FILTER_PROC, flags=select.KQ_EV_ADD | select.KQ_EV_ONESHOT, fflags=select.KQ_NOTE_EXIT)
            for pid in pids
        ]
        try:
            queue.control(events, 1, None)
        except ProcessLookupError:
            pass  # it has ended already
        return
    watched = select.poll()
    for pid in pids:
        try:
            watched.register(os.pidfd_open(pid), select.POLLIN)
        except ProcessLookupError:
            return
    watched.poll()


def start(parent: int) -> None:
    """Begin to watch `parent` and this process, which must lead a process group. Call it before any thread is made."""
    worker = os.getpid()
    if os.fork() != 0:
        return
    try:
        os.closerange(0, _FD_LIMIT)  # the worker's pipes are not to be held open
        wait_for_end([parent, worker])
        os.killpg(worker, signal.SIGKILL)  # with it this process
    finally:
        os._exit(0)
