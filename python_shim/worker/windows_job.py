"""Windows: what a worker starts ends with it, and all of it together takes no more memory than allowed.

That the worker itself ends with its bridge is libuv's doing: Node puts what it starts into a job object of its own, which the system
closes with Node (libuv, `src/win/process.c`). That job does not hold a worker's children, so the worker makes one for them.
"""

from __future__ import annotations

import ctypes
from typing import Any

#: `JobObjectExtendedLimitInformation` of `JOBOBJECTINFOCLASS` (winnt.h).
EXTENDED_LIMITS = 9
#: Flags of `LimitFlags` (winnt.h).
KILL_ON_JOB_CLOSE, JOB_MEMORY = 0x2000, 0x200

_kept: Any = None


class _Basic(ctypes.Structure):
    """`JOBOBJECT_BASIC_LIMIT_INFORMATION`."""

    _fields_ = (
        ("per_process_user_time", ctypes.c_int64),
        ("per_job_user_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("minimum_working_set", ctypes.c_size_t),
        ("maximum_working_set", ctypes.c_size_t),
        ("active_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority", ctypes.c_uint32),
        ("scheduling", ctypes.c_uint32),
    )


class Limits(ctypes.Structure):
    """`JOBOBJECT_EXTENDED_LIMIT_INFORMATION`: 144 bytes on 64 bits."""

    _fields_ = (
        ("basic", _Basic),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


def limits(memory: int) -> Limits:
    """End everything with the last handle; hold all of it to so many bytes, 0 for no limit."""
    wanted = Limits()
    wanted.basic.flags = KILL_ON_JOB_CLOSE | (JOB_MEMORY if memory else 0)
    wanted.job_memory = memory
    return wanted


def join_own_job(memory: int, kernel32: Any = None) -> None:
    """Put this process, and with it all that it will start, into a job whose only handle is ours. Raises OSError."""
    global _kept
    system = kernel32 or ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    system.CreateJobObjectW.restype = system.GetCurrentProcess.restype = ctypes.c_void_p
    system.SetInformationJobObject.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32)
    system.AssignProcessToJobObject.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    job = system.CreateJobObjectW(None, None)  # not inherited by what is started
    wanted = limits(memory)
    done = job and system.SetInformationJobObject(job, EXTENDED_LIMITS, ctypes.byref(wanted), ctypes.sizeof(wanted))
    if not done or not system.AssignProcessToJobObject(job, system.GetCurrentProcess()):
        raise OSError("a job object for the worker could not be made")
    _kept = job  # the system closes it with this process, and ends what is left in it
