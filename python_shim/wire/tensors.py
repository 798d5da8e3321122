"""What the encoder asks of tensors and arrays."""

from __future__ import annotations

import functools
from typing import Any

from .errors import NotPortable


def plain_of(torch: Any, value: Any, path: str) -> Any:
    """A tensor whose bytes are what it shows, and that is of no graph. Raises NotPortable for one that has no bytes of that kind.

    Most are, and what is asked for here costs less than asking torch for another one.
    """
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        raise NotPortable(path, f"a {value.layout} tensor on {value.device}", "which has no plain bytes", "Return a dense tensor.")
    if value.requires_grad or value.is_conj() or value.is_neg():
        return value.detach().resolve_conj().resolve_neg()
    return value


@functools.cache
def name_of(dtype: Any) -> str:
    """`float32` for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def is_same(given: Any, value: Any, address: int) -> bool:
    """Whether `value` looks at the very memory of `given`, in the same way: two objects that nobody can tell apart."""
    if type(given) is not type(value) or given.dtype != value.dtype or given.shape != value.shape:
        return False
    if hasattr(given, "data_ptr"):
        return given.data_ptr() == address and given.stride() == value.stride()
    return given.__array_interface__["data"][0] == address and given.strides == value.strides
