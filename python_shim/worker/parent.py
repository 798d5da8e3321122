"""A worker never outlives its bridge: the kernel ends it when the parent goes, even while a node holds the GIL."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from . import reaper

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def die_with_parent(parent: int) -> None:
    """Ask Linux for SIGKILL at the parent's death. `parent` closes the race: it may be gone already; 0: a sandbox watches it.

    On macOS a process beside us watches (`reaper.py`), on Windows Node's job object ends us (`windows_job.py`).
    """
    if sys.platform == "darwin" and parent and os.getpgrp() == os.getpid():
        reaper.start(parent)
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and os.getppid() != parent:
        os._exit(1)
