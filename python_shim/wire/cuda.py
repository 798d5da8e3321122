"""Tensors on a GPU: handed over on the GPU (CUDA IPC) where both processes can, and through pinned shared memory otherwise.

The receiver makes its own copy on the GPU at once, so that a node that writes into its input changes nothing elsewhere, and
the sender's memory is held no longer than that. Whether IPC works is not guessed: the first tensor is the canary. The
receiver compares a few of its bytes; if they are wrong, or it cannot be opened, the call is sent again through shared
memory and IPC is left alone with that worker. A worker answers with IPC only after it has opened one. The calls are those
of `torch/multiprocessing/reductions.py`.
"""

from __future__ import annotations

import base64
import os
import sys
from typing import Any

#: Bytes at the start of a tensor that the canary compares.
_CHECK_BYTES = 64


def usable(torch: Any, tensor: Any) -> bool:
    """Whether this tensor's memory can be named to another process: CUDA on Linux, torch's own allocator, no expandable segments."""
    if sys.platform != "linux" or tensor.device.type != "cuda" or getattr(torch.version, "hip", None):
        return False
    settings = os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "") + os.environ.get("PYTORCH_ALLOC_CONF", "")
    if "expandable_segments:true" in settings.lower().replace(" ", ""):
        return False
    return torch.cuda.get_allocator_backend() == "native"


def _uuid(torch: Any, index: int) -> str:
    return str(getattr(torch.cuda.get_device_properties(index), "uuid", index))


def share(torch: Any, tensor: Any, check: bool) -> dict[str, Any]:
    """The fields of a tensor's tag that name its GPU memory. The caller keeps the tensor until the receiver has copied it."""
    torch.cuda.current_stream(tensor.device).synchronize()
    device, handle, size, offset, counter, counter_offset, event, sync = tensor.untyped_storage()._share_cuda_()
    texts = [base64.b64encode(part).decode() for part in (handle, counter, event)]
    head = tensor.reshape(-1)[: max(1, _CHECK_BYTES // tensor.element_size())].cpu() if check else None
    return {
        "torch": str(torch.__version__),
        "uuid": _uuid(torch, device),
        "handle": texts[0],
        "counter": texts[1],
        "event": texts[2],
        "numbers": [int(size), int(offset), int(counter_offset), int(sync), int(tensor.storage_offset())],
        "stride": list(tensor.stride()),
        "check": None if head is None else base64.b64encode(head.contiguous().view(torch.uint8).numpy().tobytes()).decode(),
    }


def receive(torch: Any, tag: dict[str, Any], shape: list[int], dtype: Any) -> Any:
    """A tensor of this process with the bytes of the named one, on the same GPU. Raises OSError if it cannot be had."""
    try:
        if tag["torch"] != str(torch.__version__):
            raise OSError(f"it comes from torch {tag['torch']}, and this is {torch.__version__}")
        index = next((i for i in range(torch.cuda.device_count()) if _uuid(torch, i) == tag["uuid"]), None)
        if index is None:
            raise OSError("this process does not see that GPU")
        handle, counter, event = (base64.b64decode(tag[name]) for name in ("handle", "counter", "event"))
        size, offset, counter_offset, sync, start = tag["numbers"]
        torch.cuda._lazy_init()
        storage = torch.UntypedStorage._new_shared_cuda(index, handle, size, offset, counter, counter_offset, event, bool(sync))
        there = torch.empty(0, dtype=dtype, device=f"cuda:{index}").set_(storage, start, shape, tag["stride"])
        own = there.clone()
        torch.cuda.current_stream(index).synchronize()
        _compare(torch, own, tag["check"])
    except OSError:
        raise
    except Exception as error:  # whatever the driver says: the caller has another way
        raise OSError(f"its GPU memory cannot be opened: {error}") from error
    return own


def _compare(torch: Any, tensor: Any, check: str | None) -> None:
    if check is None:
        return
    head = tensor.reshape(-1)[: max(1, _CHECK_BYTES // tensor.element_size())].cpu().contiguous().view(torch.uint8).numpy().tobytes()
    if head != base64.b64decode(check):
        raise OSError("its GPU memory holds other bytes than it should")


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
