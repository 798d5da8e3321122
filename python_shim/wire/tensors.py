"""What the encoder asks of tensors: whether their bytes are all that they are, and how those are read."""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import Any

from .errors import CodedError

_AS_IT_IS = contextlib.nullcontext()


class Seen(list[Any]):
    """The tensors and arrays of a message in their order, and the tags that they came with."""

    def __init__(self) -> None:
        super().__init__()
        #: By number; none of one that came with attributes.
        self.tags: dict[int, dict[str, Any]] = {}


def is_tensor(kind: type) -> bool:
    """Whether a class is torch's own tensor, or its Parameter. A subclass may be anything: its memory is not asked for."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "Tensor"):
        return False
    return kind is torch.Tensor or kind is getattr(getattr(torch, "nn", None), "Parameter", None)


def is_dense(torch: Any, value: Any) -> bool:
    """Whether a tensor is of the kind that has one run of bytes."""
    return value.layout is torch.strided and not (value.is_quantized or value.is_meta or value.is_nested or value._is_zerotensor())


def plain_of(torch: Any, value: Any) -> Any:
    """A tensor whose bytes are what it shows, and that is of no graph. None for one that has no bytes of that kind.

    Most are, and what is asked for here costs less than asking torch for another one.
    """
    try:
        if not is_dense(torch, value):
            return None
        if value.requires_grad or value.is_conj() or value.is_neg():
            value = value.detach().resolve_conj().resolve_neg()
        return value if _has_its_bytes(torch, value) else None
    except (RuntimeError, NotImplementedError, AttributeError):  # a transform's tensor, which has no storage
        return None


def _has_its_bytes(torch: Any, value: Any) -> bool:
    """Whether the memory that a tensor claims is there."""
    transformed, named = _asks or _look_up(torch)
    if transformed(value) or (named and any(value.names)):
        return False
    count = value.numel()
    if count == 0:
        return True
    size = value.element_size()
    if value.is_contiguous():
        last = value.storage_offset() + count
    else:
        last = 1 + value.storage_offset() + sum((n - 1) * step for n, step in zip(value.shape, value.stride(), strict=True))
    return value.data_ptr() != 0 and last * size <= value.untyped_storage().nbytes()


#: How to ask whether a tensor is one of `torch.func`'s, and whether dimensions can have names, as in older versions.
_asks: tuple[Any, bool] | None = None


def _look_up(torch: Any) -> tuple[Any, bool]:
    global _asks
    asked = getattr(getattr(torch._C, "_functorch", None), "is_functorch_wrapped_tensor", None)
    _asks = (asked or (lambda value: False), hasattr(torch.Tensor, "has_names"))
    return _asks


def is_inference_mode() -> bool:
    """Whether this thread is in torch's inference mode."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and torch.is_inference_mode_enabled()


def mode_of(torch: Any, tag: dict[str, Any]) -> Any:
    """In which a tensor is made like the one over there: torch refuses some things with one of its inference mode, and some without."""
    wanted = tag["inference"]
    return _AS_IT_IS if torch.is_inference_mode_enabled() == wanted else torch.inference_mode(wanted)


@functools.cache
def name_of(dtype: Any) -> str:
    """`float32` for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def dtype_of(torch: Any, name: str) -> Any:
    """The dtype of that name. Raises VALUE_NOT_PORTABLE where this torch has none."""
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        what = f"The torch {torch.__version__} of this environment has no {name}, and the call carries a tensor of it."
        raise CodedError("VALUE_NOT_PORTABLE", what, "Update torch there, or convert the tensor first.")
    return found


def as_bytes_of(torch: Any, value: Any) -> Any:
    """The same memory as numbers that torch can copy, for dtypes that it cannot."""
    copied = _copied_as(torch, value.dtype)
    return value if copied is None else value.view(copied)


@functools.cache
def _copied_as(torch: Any, dtype: Any) -> Any:
    try:
        torch.empty(2, 2, dtype=dtype).t().contiguous()
    except (RuntimeError, NotImplementedError):
        return {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}.get(torch.empty(1, dtype=dtype).element_size())
    return None
