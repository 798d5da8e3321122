"""Tensors on a GPU: handed over on the GPU (CUDA IPC) where both processes can, and through pinned shared memory otherwise.

The receiver makes its own copy on the GPU at once, so that a node that writes into its input changes nothing elsewhere, and
the sender's memory is held no longer than that. Whether IPC works is not guessed: the first tensor is the canary. The
receiver compares a few of its bytes; if they are wrong, or it cannot be opened, the call is sent again through shared
memory and IPC is left alone with that worker. A worker answers with IPC only after it has opened one.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import sys
from typing import Any

from . import cuda_driver
from .gpu_buffers import KEEP_SECONDS, GpuBuffers

#: Bytes at the start of a tensor that the canary compares.
_CHECK_BYTES = 64


class GpuRefused(OSError):
    """A tensor's GPU memory could not be opened: it has to come through main memory."""


@functools.cache
def _buffers() -> GpuBuffers:
    return GpuBuffers(cuda_driver.load())


def usable(torch: Any, tensor: Any) -> bool:
    """Whether it is worth trying: NVIDIA's driver on Linux."""
    return sys.platform == "linux" and tensor.device.type == "cuda" and not getattr(torch.version, "hip", None)


def share(torch: Any, tensor: Any, check: bool) -> tuple[dict[str, Any], Any] | None:
    """The fields of a `usable`, contiguous tensor's tag that name its bytes on the GPU, and what must be kept until the receiver has copied
    them.

    None if they cannot be named here: no such driver (WSL), or no room on the GPU for a copy that can.
    """
    device, nbytes = tensor.device.index, tensor.numel() * tensor.element_size()
    stream = torch.cuda.current_stream(device)
    try:
        driver = cuda_driver.load()
        keeper, named = tensor, _named(torch, driver, tensor)
        if named is None:
            keeper = _buffers().take(device, nbytes)
            driver.copy(device, keeper.address, tensor.data_ptr(), nbytes, stream.cuda_stream)
            named = driver.export(device, keeper.address)
        else:
            stream.synchronize()
        uuid = driver.uuid(device)
    except OSError:
        return None
    handle, offset = named
    head = base64.b64encode(_head(torch, tensor)).decode() if check else None
    return {"uuid": uuid, "handle": base64.b64encode(handle).decode(), "offset": offset, "check": head}, keeper


def _named(torch: Any, driver: cuda_driver.CudaDriver, tensor: Any) -> tuple[bytes, int] | None:
    """The name of the memory that it lies in; None: it has none (cudaMallocAsync, expandable segments)."""
    if torch.cuda.get_allocator_backend() != "native":
        return None
    with contextlib.suppress(OSError):
        return driver.export(tensor.device.index, tensor.data_ptr())
    return None


def receive(torch: Any, tag: dict[str, Any], count: int, dtype: Any) -> Any:
    """A flat tensor of this process with the elements of the named one, on the same GPU. Raises GpuRefused if it cannot be had."""
    try:
        driver = cuda_driver.load()
        own = torch.empty(count, dtype=dtype, device=f"cuda:{driver.device_of(tag['uuid'])}")
        stream = torch.cuda.current_stream(own.device).cuda_stream
        handle = base64.b64decode(tag["handle"])
        driver.fetch(own.device.index, handle, tag["offset"], own.numel() * own.element_size(), own.data_ptr(), stream)
        if tag["check"] is not None and _head(torch, own) != base64.b64decode(tag["check"]):
            raise OSError("it holds other bytes than it should")
    except OSError as error:
        raise GpuRefused(f"its GPU memory cannot be opened: {error}") from error
    return own


def _head(torch: Any, tensor: Any) -> bytes:
    """Its first bytes."""
    return tensor.flatten()[: max(1, _CHECK_BYTES // tensor.element_size())].cpu().view(torch.uint8).numpy().tobytes()


def shrink(older_than: float = KEEP_SECONDS) -> None:
    """Give GPU memory back that has not been used for so many seconds."""
    if _buffers.cache_info().currsize:
        with contextlib.suppress(OSError):
            _buffers().shrink(older_than)


def pin(torch: Any, segment: Any) -> None:
    """Let the GPU write into a segment directly, once for each. Without it the copy only takes longer."""
    if getattr(segment, "pinned", None) is None:
        try:
            segment.pinned = int(torch.cuda.cudart().cudaHostRegister(segment.address, segment.size, 0)) == 0
        except Exception:  # noqa: BLE001 - an older driver, or no right to lock memory
            segment.pinned = False


def unpin(segment: Any) -> None:
    """Before a pinned segment's memory goes."""
    torch = sys.modules.get("torch")
    if torch is not None and getattr(segment, "pinned", None):
        torch.cuda.cudart().cudaHostUnregister(segment.address)
        segment.pinned = None
