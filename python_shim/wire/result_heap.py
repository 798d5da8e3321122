"""The heap of a worker's results: it must know what an encoder itself holds of a tensor."""

from __future__ import annotations

from typing import Any

from .encoder import Encoder
from .segments import SegmentPool
from .shared_heap import Probe, SharedHeap


def make_heap(pool: SegmentPool) -> SharedHeap:
    """A heap for results of this process's encoders."""

    def count_alone(torch: Any) -> tuple[int, int, int]:
        probe = Probe()
        encoder = Encoder(pool, heap=probe)
        encoder.encode((torch.ones(1),), "a probe")
        for lease in encoder.leases:
            pool.release(lease)
        assert probe.seen is not None
        return probe.seen

    return SharedHeap(pool, count_alone)
