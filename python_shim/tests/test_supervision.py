"""How a worker is held: with its parent, with its children, within its memory. The parts for other systems, as far as they run here."""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from python_shim.worker import windows_job

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

WORKER = """
import ctypes, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from python_shim.worker import reaper
reaper.start(int(sys.argv[2]))
child = subprocess.Popen(["sleep", "1000"])
print(os.getpid(), child.pid, flush=True)
ctypes.PyDLL(None).sleep(1000)
"""
PARENT = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[1], str(__import__("os").getpid())], start_new_session=True)
time.sleep(1000)
"""


def alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pids, seconds=2.0):
    """Whether all of them end within so many seconds."""
    until = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(os, "pidfd_open"), reason="pidfds stand in for macOS' kqueue on Linux only")
@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_the_reaper_ends_a_worker_that_keeps_pythons_lock_and_what_it_has_started(victim):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(ROOT), WORKER], stdout=subprocess.PIPE)
    worker, child = (int(word) for word in parent.stdout.readline().split())
    try:
        assert alive(worker) and alive(child)
        os.kill(parent.pid if victim == "parent" else worker, signal.SIGKILL)
        assert gone([worker, child])
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
        for pid in (worker, child):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_the_structures_of_a_windows_job_lie_as_its_header_says():
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        pytest.skip("64 bits")
    assert ctypes.sizeof(windows_job.Limits) == 144
    assert (windows_job._Basic.flags.offset, windows_job.Limits.process_memory.offset, windows_job.Limits.job_memory.offset) == (
        16,
        112,
        120,
    )


class Kernel32:
    """Named as what it is: records what Windows would have been asked."""

    def __init__(self, refuses=""):
        self.asked = []
        for name, answer in {
            "CreateJobObjectW": 7,
            "SetInformationJobObject": 1,
            "AssignProcessToJobObject": 1,
            "GetCurrentProcess": -1,
        }.items():
            setattr(self, name, self._function(name, 0 if name == refuses else answer))

    def _function(self, name, answer):
        def function(*given):
            self.asked.append((name, given))
            return answer

        return function


@pytest.mark.parametrize(("memory", "flags"), [(0, 0x2000), (4 << 30, 0x2200)])
def test_a_windows_worker_joins_a_job_that_ends_with_it(memory, flags):
    system = Kernel32()
    windows_job.join_own_job(memory, system)
    names = [name for name, _ in system.asked]
    assert names == ["CreateJobObjectW", "SetInformationJobObject", "GetCurrentProcess", "AssignProcessToJobObject"]
    job, kind, pointer, size = system.asked[1][1]
    assert (job, kind, size) == (7, 9, ctypes.sizeof(windows_job.Limits))
    assert (pointer._obj.basic.flags, pointer._obj.job_memory) == (flags, memory)


@pytest.mark.parametrize("refuses", ["CreateJobObjectW", "SetInformationJobObject", "AssignProcessToJobObject"])
def test_a_windows_that_refuses_is_an_error_and_no_crash(refuses):
    with pytest.raises(OSError, match="job object"):
        windows_job.join_own_job(0, Kernel32(refuses))
