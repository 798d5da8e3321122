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
_BUFFER_ID = 7  # CU_POINTER_ATTRIBUTE_BUFFER_ID
#: So many handles are known again: asking for one takes a fifth of a millisecond.
_MOST_HANDLES = 256
HANDLE_BYTES = 64  # CU_IPC_HANDLE_SIZE


class _Handle(ctypes.Structure):
    _fields_ = [("reserved", ctypes.c_ubyte * HANDLE_BYTES)]


class CudaDriver:
    """`library` is libcuda.so.1. Devices are numbers as torch counts them. Every failure is an OSError with the driver's words."""

    def __init__(self, library: Any) -> None:
        self._lib = library
        self._contexts: dict[int, ctypes.c_void_p] = {}
        self._uuids: dict[int, str] = {}
        self._handles: dict[int, tuple[bytes, int]] = {}
        self._lock = threading.Lock()
        self._ask("cuInit", 0)

    def uuid(self, device: int) -> str:
        """What all processes call this GPU."""
        if device not in self._uuids:
            found = (ctypes.c_ubyte * 16)()
            self._ask("cuDeviceGetUuid_v2", found, ctypes.c_int(self._ordinal(device)))
            self._uuids[device] = bytes(found).hex()
        return self._uuids[device]

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
        serial = ctypes.c_uint64()  # an allocation's own, never used again
        with self._current(device):
            self._ask("cuPointerGetAttribute", ctypes.byref(serial), _BUFFER_ID, ctypes.c_uint64(address))
            known = self._handles.get(serial.value)
            if known is None:
                base, size, named = ctypes.c_uint64(), ctypes.c_size_t(), _Handle()
                self._ask("cuMemGetAddressRange_v2", ctypes.byref(base), ctypes.byref(size), ctypes.c_uint64(address))
                self._ask("cuIpcGetMemHandle", ctypes.byref(named), base)
                known = bytes(named), base.value
                self._remember(serial.value, known)
        handle, start = known
        return handle, address - start

    def fetch(self, device: int, handle: bytes, offset: int, nbytes: int, target: int, stream: int) -> None:
        """Copy so many bytes of another process's allocation to the address `target`, on that stream, and wait until they are there."""
        base = ctypes.c_uint64()
        with self._current(device):
            self._ask("cuIpcOpenMemHandle_v2", ctypes.byref(base), _Handle.from_buffer_copy(handle), ctypes.c_uint(_LAZY_PEER_ACCESS))
            try:
                self._copy(target, base.value + offset, nbytes, stream)
            finally:
                self._ask("cuIpcCloseMemHandle", base)

    def copy(self, device: int, target: int, source: int, nbytes: int, stream: int) -> None:
        """Copy within this process, on that stream, and wait until it is done."""
        with self._current(device):
            self._copy(target, source, nbytes, stream)

    def allocate(self, device: int, nbytes: int, spare: int) -> int:
        """The address of fresh memory. Raises OSError if `spare` bytes would not be free beside it."""
        free, total, address = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_uint64()
        with self._current(device):
            self._ask("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
            if free.value < nbytes + spare:
                raise OSError(f"{free.value >> 20} MiB are free on the GPU")
            self._ask("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(nbytes))
        return address.value

    def free(self, device: int, address: int) -> None:
        """Give back what `allocate` gave."""
        with self._current(device):
            self._ask("cuMemFree_v2", ctypes.c_uint64(address))

    def _copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self._ask(
            "cuMemcpyDtoDAsync_v2", ctypes.c_uint64(target), ctypes.c_uint64(source), ctypes.c_size_t(nbytes), ctypes.c_void_p(stream)
        )
        self._ask("cuStreamSynchronize", ctypes.c_void_p(stream))

    def _remember(self, serial: int, handle: tuple[bytes, int]) -> None:
        with self._lock:
            while len(self._handles) >= _MOST_HANDLES:
                del self._handles[next(iter(self._handles))]
            self._handles[serial] = handle

    def _ordinal(self, device: int) -> int:
        handle = ctypes.c_int()
        self._ask("cuDeviceGet", ctypes.byref(handle), device)
        return handle.value

    @contextlib.contextmanager
    def _current(self, device: int) -> Iterator[None]:
        """That device's primary context, which is torch's too, is this thread's meanwhile."""
        with self._lock:
            if device not in self._contexts:
                context = ctypes.c_void_p()
                self._ask("cuDevicePrimaryCtxRetain", ctypes.byref(context), ctypes.c_int(self._ordinal(device)))
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
