"""What of a message travels through shared memory: tensors, arrays, long texts, bytes and numbers."""

from __future__ import annotations

import array
import base64
import sys
from collections.abc import Sequence
from typing import Any

from . import arrays, cuda
from .copying import copy_tensor
from .mapping import MappedSegments
from .places import Places
from .scalars import BLOB_BYTES
from .segments import SegmentPool
from .tensors import as_bytes_of, name_of, plain_of

#: What a tag says of a tensor or array beside where it is.
_LOOKS = ("$", "dtype", "shape", "channels_last", "inference", "scalar", "kind", "readonly")


class Buffers:
    """The memory of one message, and the tensors and arrays in it by their numbers: the lower half of `Encoder`."""

    def __init__(self, pool: SegmentPool, mapped: MappedSegments | None, inputs: Sequence[Any], gpu: str | None) -> None:
        self._places = Places(pool)
        self.leases = self._places.leases
        #: Tensors and arrays in their order: what `inputs` is on the way back.
        self.kept: list[Any] = []
        #: Whether a tensor is handed over on its GPU.
        self.on_gpu = False
        self._pool, self._mapped, self._inputs, self._gpu = pool, mapped, inputs, gpu
        self._seen: dict[int, int] = {}
        self._input_numbers: dict[int, int] | None = None

    def release(self) -> None:
        """The message is not sent."""
        for lease in self.leases:
            self._pool.release(lease)
        self.leases.clear()
        self.kept.clear()
        self._seen.clear()

    def again(self, value: Any) -> Any:
        """The tag of a tensor or array that this message has already."""
        number = self._seen.get(id(value))
        return None if number is None else {"$": "same", "of": number}

    def _remember(self, value: Any) -> None:
        self._seen[id(value)] = len(self.kept)
        self.kept.append(value)

    def blob(self, kind: str, data: Any) -> Any:
        """Bytes as they are."""
        lease, segment, offset = self._places.room(len(data))
        segment.map[offset : offset + len(data)] = data
        return {"$": "blob", "kind": kind, "segment": self._pool.ref(lease, segment, offset, len(data))}

    def numbers(self, values: list[Any], code: str) -> Any:
        """A list of nothing but ints, floats or truth values; None if an int is too large for that."""
        if code == "?":
            data = bytes(values)
        else:
            for code in "iq" if code == "q" else code:  # noqa: B020 - the shorter one, if it does
                try:
                    data = array.array(code, values).tobytes()
                    break
                except OverflowError:
                    continue
            else:
                return None
        if len(data) < BLOB_BYTES:
            return {"$": "numbers", "code": code, "v": base64.b64encode(data).decode()}
        return {"$": "numbers", "code": code, "v": self.blob("bytes", data)}

    def tensor(self, value: Any, as_it_is: bool = True) -> Any:
        """A tensor's tag; None for one that is more than its bytes, or has none. `as_it_is`: it may be one of the inputs."""
        torch: Any = sys.modules["torch"]
        plain = plain_of(torch, value)
        if plain is None:
            return None
        self._remember(value)
        whole = plain.is_contiguous()
        last = not whole and plain.dim() == 4 and plain.is_contiguous(memory_format=torch.channels_last)
        device = None if plain.is_cpu else str(plain.device)
        nbytes = plain.numel() * plain.element_size()
        looks = {"dtype": name_of(plain.dtype), "shape": list(plain.shape), "channels_last": last, "inference": value.is_inference()}
        if nbytes and device is not None and (on_gpu := self._tensor_on_gpu(torch, plain, looks)) is not None:
            return on_gpu
        tag = {"$": "tensor", **looks, "device": device, "segment": None}
        if nbytes:
            own = value if as_it_is else None
            found = self._passed_on(own, tag, plain.data_ptr(), nbytes) if device is None and (whole or last) else None
            if isinstance(found, int):
                return {"$": "input", "of": found}
            tag["segment"] = found or self._copied(torch, plain.permute(0, 2, 3, 1) if last else plain, nbytes)
        return tag

    def _tensor_on_gpu(self, torch: Any, plain: Any, looks: dict[str, Any]) -> Any:
        """The tensor stays where it is, and is kept until the receiver has its own copy. None if that cannot be."""
        if self._gpu is None or not cuda.usable(torch, plain):
            return None
        source = plain.permute(0, 2, 3, 1) if looks["channels_last"] else plain.contiguous()
        shared = cuda.share(torch, source, self._gpu == "check")
        if shared is None:
            return None
        named, keeper = shared
        lease = self._pool.pass_on(keeper)
        self.leases.append(lease)
        self.on_gpu = True
        return {"$": "cuda", **looks, "lease": lease, **named}

    def _copied(self, torch: Any, source: Any, nbytes: int) -> Any:
        """The bytes of `source`, in C order, in memory of ours."""
        lease, segment, offset = self._places.room(nbytes)
        copy_tensor(torch, source if source.is_contiguous() else as_bytes_of(torch, source), segment, offset)
        return self._pool.ref(lease, segment, offset, nbytes)

    def _passed_on(self, value: Any, tag: dict[str, Any], address: int, nbytes: int) -> Any:
        """For memory of another process that nothing was written into: a lease on it; for one of `inputs` as it came, its number."""
        found = None if self._mapped is None else self._mapped.find(address, nbytes)
        if found is None:
            return None
        mapping, keeper = found
        ref = {**mapping.ref, "offset": address - mapping.address, "bytes": nbytes}
        number = self._input_number(value)
        if number is not None and _is_as_it_came(tag, ref, getattr(self._inputs, "tags", {}).get(number)):
            return number
        lease = self._pool.pass_on(keeper)
        self.leases.append(lease)
        return {**ref, "lease": lease}

    def _input_number(self, value: Any) -> int | None:
        """Which of the inputs this very object is."""
        if self._input_numbers is None:
            self._input_numbers = {id(given): number for number, given in enumerate(self._inputs) if given is not None}
        return self._input_numbers.get(id(value))

    def array(self, value: Any, kind: str) -> Any:
        """The tag of an array, a matrix, a record array or a scalar of numpy; None for one that is more than its bytes."""
        numpy: Any = sys.modules["numpy"]
        array = value if kind == "array" else numpy.asarray(value)
        described = arrays.description_of(array.dtype)
        if described is None or (kind == "scalar" and value.dtype.type is not type(value)):
            return None
        self._remember(value)
        tag = {"$": "ndarray", "dtype": described, "shape": list(array.shape), "scalar": kind == "scalar", "segment": None}
        if kind in ("matrix", "recarray"):
            tag["kind"] = kind
        if kind != "scalar" and not value.flags.writeable:
            tag["readonly"] = True
        if array.nbytes:
            found = self._passed_on(value, tag, arrays.address_of(array), array.nbytes) if array.flags.c_contiguous else None
            if isinstance(found, int):
                return {"$": "input", "of": found}
            tag["segment"] = found or self._copied_array(numpy, array)
        return tag

    def _copied_array(self, numpy: Any, array: Any) -> Any:
        lease, segment, offset = self._places.room(array.nbytes)
        room = numpy.frombuffer(segment.map, dtype=array.dtype, count=array.size, offset=offset).reshape(array.shape)
        room[...] = array
        return self._pool.ref(lease, segment, offset, array.nbytes)


def _is_as_it_came(tag: dict[str, Any], ref: dict[str, Any], came: dict[str, Any] | None) -> bool:
    """Whether an input still is what its tag says: its class lets a pack change shape, type and memory."""
    if came is None or came.get("segment") is None or any(tag.get(name) != came.get(name) for name in _LOOKS):
        return False
    return all(ref[name] == came["segment"][name] for name in ("lease", "offset", "bytes"))
