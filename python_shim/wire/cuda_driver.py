"""The calls of the CUDA driver by which one process names its GPU memory to another (CUDA Driver API, "Device Memory": cuIpc*).

Not torch's own way (`torch/multiprocessing/reductions.py`): that counts receivers in files of /dev/shm, which stay when a process is
killed, and keeps the memory of a receiver that was killed for ever. Leases do both here. It also takes any two versions of torch.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Iterator
from typing import Any

_LAZY_PEER_ACCESS = 1  # CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS
HANDLE_BYTES = 64  # CU_IPC_HANDLE_SIZE


class _Handle(ctypes.Structure):
    _fields_ = [("reserved", ctypes.c_ubyte * HANDLE_BYTES)]


class CudaDriver:
    """`library` is libcuda.so.1. Devices are numbers as torch counts them. Every failure is an OSError with the driver's words."""

    def __init__(self, library: Any) -> None:
        self._lib = library
        self._contexts: dict[int, ctypes.c_void_p] = {}
        self._lock = threading.Lock()
        self._ask("cuInit", 0)

    def uuid(self, device: int) -> str:
        """What all processes call this GPU."""
        found = (ctypes.c_ubyte * 16)()
        self._ask("cuDeviceGetUuid_v2", found, ctypes.c_int(self._handle_of(device)))
        return bytes(found).hex()

    def device_of(self, uuid: str) -> int:
        """The number of a GPU here. Raises OSError if this process does not see it."""
        count = ctypes.c_int()
        self._ask("cuDeviceGetCount", ctypes.byref(count))
        for device in range(count.value):
            if self.uuid(device) == uuid:
                return device
        raise OSError("this process does not see that GPU")

    def export(self, device: int, address: int) -> tuple[bytes, int]:
        """The handle of the allocation that holds this address, and the address's place in it. Raises OSError where memory has no handle:
        cudaMallocAsync, expandable segments, WSL."""
        base, size, handle = ctypes.c_uint64(), ctypes.c_size_t(), _Handle()
        with self._current(device):
            self._ask("cuMemGetAddressRange_v2", ctypes.byref(base), ctypes.byref(size), ctypes.c_uint64(address))
            self._ask("cuIpcGetMemHandle", ctypes.byref(handle), base)
        return bytes(handle), address - base.value

    def fetch(self, device: int, handle: bytes, offset: int, nbytes: int, target: int, stream: int) -> None:
        """Copy so many bytes of another process's allocation to the address `target`, on that stream, and wait until they are there."""
        base = ctypes.c_uint64()
        with self._current(device):
            self._ask("cuIpcOpenMemHandle_v2", ctypes.byref(base), _Handle.from_buffer_copy(handle), ctypes.c_uint(_LAZY_PEER_ACCESS))
            try:
                source, on = ctypes.c_uint64(base.value + offset), ctypes.c_void_p(stream)
                self._ask("cuMemcpyDtoDAsync_v2", ctypes.c_uint64(target), source, ctypes.c_size_t(nbytes), on)
                self._ask("cuStreamSynchronize", on)
            finally:
                self._ask("cuIpcCloseMemHandle", base)

    def _handle_of(self, device: int) -> int:
        handle = ctypes.c_int()
        self._ask("cuDeviceGet", ctypes.byref(handle), device)
        return handle.value

    @contextlib.contextmanager
    def _current(self, device: int) -> Iterator[None]:
        """That device's primary context, which is torch's too, is this thread's meanwhile."""
        with self._lock:
            if device not in self._contexts:
                context = ctypes.c_void_p()
                self._ask("cuDevicePrimaryCtxRetain", ctypes.byref(context), ctypes.c_int(self._handle_of(device)))
                self._contexts[device] = context
        self._ask("cuCtxPushCurrent_v2", self._contexts[device])
        try:
            yield
        finally:
            self._ask("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def _ask(self, name: str, *args: Any) -> None:
        code = getattr(self._lib, name)(*args)
        if code != 0:
            text = ctypes.c_char_p()
            self._lib.cuGetErrorName(code, ctypes.byref(text))
            raise OSError(f"{name}: {(text.value or b'error').decode()} ({code})")


@functools.cache
def load() -> CudaDriver:
    """The driver of this machine. Raises OSError if there is none."""
    return CudaDriver(ctypes.CDLL("libcuda.so.1"))
