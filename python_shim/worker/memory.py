"""How much memory a worker may take, who goes first when the machine has none left, and what is given back."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys

from ..wire.errors import CodedError
from . import windows_job

#: Linux ends the process with the highest score first: a worker before ComfyUI, whose score is 0 (`man 5 proc`).
_SCORE = "500"
#: What torch's allocator and C++ say when there is no memory; Python says MemoryError.
_WORDS = ("can't allocate memory", "not enough memory", "std::bad_alloc", "bad allocation")
_limit = 0


def limit_memory() -> None:
    """Hold this process to `ENVMANAGER_MEMORY` bytes of data, where that is set. On Windows a job object does it; on macOS nothing.

    The kernel counts what can be written and is not shared with others (RLIMIT_DATA, `man 2 getrlimit`): what CUDA reserves of the
    address space, which may be terabytes, is not among it.
    """
    global _limit
    _limit = int(os.environ.get("ENVMANAGER_MEMORY", "0"))
    if sys.platform == "win32":
        with contextlib.suppress(OSError):  # without it the worker runs all the same
            windows_job.join_own_job(_limit)
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123 - no pathlib
        file.write(_SCORE)
    if _limit > 0:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (_limit, _limit))


def beyond_limit(error: BaseException, node: str) -> CodedError | None:
    """What to say if a node failed because it wanted more than the limit; None: it failed otherwise."""
    if _limit == 0 or not (isinstance(error, MemoryError) or any(word in str(error) for word in _WORDS)):
        return None
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    what = f"{node} wanted more memory than its worker may take: the memory limit is {_limit / 2**30:g} GB. It said: {said}"
    return CodedError("MEMORY_FULL", what, "Raise the limit (Machine, Settings), or send smaller batches.")


def give_back() -> None:
    """Return what the allocators keep for later to the system and to the GPU."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # musl has no `malloc_trim`
            ctypes.CDLL(None).malloc_trim(0)
    torch = sys.modules.get("torch")
    # a GPU that a node has left in an error says so at every call, and torch may be half imported: whoever listens here goes on
    with contextlib.suppress(Exception):
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def unload_models() -> None:
    """As ComfyUI's Unload button does for its own (`main.py`): models that nodes of this process have loaded leave the GPU."""
    management = sys.modules.get("comfy.model_management")
    if management is not None and hasattr(management, "unload_all_models"):
        management.unload_all_models()
        management.soft_empty_cache()
    gc.collect()
