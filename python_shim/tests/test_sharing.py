"""Shared memory between processes: what is passed on, what is copied, what is given back."""

import gc
import json
import os
import time

import numpy
import pytest
import torch

from python_shim.wire import pages, segments
from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.errors import CodedError
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.pages import PAGE, written
from python_shim.wire.segments import OWNER, SegmentPool

linux = pytest.mark.skipif(not os.path.exists("/proc/self/pagemap"), reason="needs Linux's word on written pages")  # noqa: PTH110


class Side:
    """One process's half."""

    def __init__(self):
        self.pool, self.mapped = SegmentPool(), MappedSegments()

    def send(self, value, inputs=()):
        encoder = Encoder(self.pool, mapped=self.mapped, inputs=inputs)
        return json.dumps(encoder.encode(value, "the value")), encoder

    def take(self, text, inputs=()):
        return Decoder(self.mapped, lambda tag: None, inputs).decode(json.loads(text))

    def take_call(self, text):
        """With the tensors and arrays in their order, as a worker keeps them until it has answered."""
        decoder = Decoder(self.mapped, lambda tag: None)
        return decoder.decode(json.loads(text)), decoder.seen


@pytest.fixture
def sides():
    made = [Side(), Side(), Side()]
    yield made
    for side in made:
        side.pool.close()


def segment_of(text):
    return json.loads(text)["segment"]["segment"]


@linux
def test_a_result_goes_on_to_another_process_without_a_copy(sides):
    first, host, second = sides
    image = torch.rand(64, 64, 64)
    text, _ = first.send(image)
    there = host.take(text)
    onward, _ = host.send(there)
    assert segment_of(onward) == segment_of(text) and host.pool.usage() == (0, 0)
    assert torch.equal(second.take(onward), image)


@linux
def test_a_slice_of_a_result_goes_on_without_a_copy(sides):
    first, host, second = sides
    batch = torch.rand(4, 100, 100)
    there = host.take(first.send(batch)[0])
    onward, _ = host.send(there[2])
    assert json.loads(onward)["segment"]["bytes"] == 40_000 and host.pool.usage() == (0, 0)
    assert torch.equal(second.take(onward), batch[2])


@linux
def test_what_was_written_into_goes_on_as_a_copy(sides):
    first, host, second = sides
    there = host.take(first.send(torch.zeros(100_000))[0])
    there[7] = 1
    onward, _ = host.send(there)
    assert host.pool.usage()[0] > 0
    assert second.take(onward).sum() == 1


@linux
def test_a_lease_that_was_passed_on_holds_its_owners_memory_until_both_let_go(sides):
    first, host, second = sides
    text, sent = first.send(torch.rand(500_000))
    there = host.take(text)
    onward = host.send(there)[0]
    last = second.take(onward)
    assert segment_of(onward) == segment_of(text)
    del there
    gc.collect()
    assert host.mapped.let_go() == []
    del last
    gc.collect()
    for lease in second.mapped.let_go():
        host.pool.release(lease)
    assert host.mapped.let_go() == sent.leases


@linux
def test_an_unchanged_input_comes_back_as_the_very_object(sides):
    host, worker, _ = sides
    given = {"image": torch.rand(2, 300, 300), "array": numpy.arange(5000), "other": torch.rand(5)}
    text, sent = host.send(given)
    inside, seen = worker.take_call(text)
    answer, _ = worker.send((inside["image"], inside["array"], inside["image"][0]), seen)
    back = host.take(answer, sent.kept)
    assert back[0] is given["image"] and back[1] is given["array"]
    assert torch.equal(back[2], given["image"][0])
    assert worker.pool.usage() == (0, 0)


def test_a_changed_input_comes_back_changed_and_the_senders_stays(sides):
    host, worker, _ = sides
    image = torch.zeros(2, 300, 300)
    text, sent = host.send({"image": image})
    inside, seen = worker.take_call(text)
    inside["image"].add_(1)
    back = host.take(worker.send(inside["image"], seen)[0], sent.kept)
    assert back.sum() == 180_000 and image.sum() == 0


def test_a_reused_segment_shows_its_new_bytes(sides):
    host, worker, _ = sides
    for number in range(5):
        text, sent = host.send(torch.full((400_000,), float(number)))
        inside = worker.take(text)
        assert inside.unique().tolist() == [number]
        if number == 2:
            inside[0] = 99  # the mapping is not clean any more: it must not be used again
        del inside
        gc.collect()
        for lease in worker.mapped.let_go():
            host.pool.release(lease)
        assert host.pool.usage()[0] == 0 and sent.leases


def test_a_segment_whose_owner_is_gone_is_copied(sides):
    first, host, _ = sides
    there = host.take(first.send(torch.rand(300_000))[0])
    host.mapped.owner_gone(OWNER)
    onward, _ = host.send(there)
    assert json.loads(onward)["segment"]["segment"].startswith(f"{OWNER}-") and host.pool.usage()[0] > 0


def test_a_thousand_large_tensors_take_few_descriptors(sides):
    host, worker, _ = sides
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH208, PTH112
    text, _ = host.send([torch.full((262_144 + i,), float(i)) for i in range(1000)])
    result = worker.take(text)
    assert [item[-1].item() for item in result] == list(range(1000))
    if before:
        assert len(os.listdir("/proc/self/fd")) - before < 150  # noqa: PTH208


def test_more_than_may_be_used_is_an_error_and_not_a_crash():
    pool = SegmentPool(limit=8 << 20)
    kept = pool.lease(6 << 20)
    with pytest.raises(CodedError) as caught:
        Encoder(pool).encode(torch.zeros(2 << 20), "x")
    assert caught.value.code == "MEMORY_FULL" and "of 8 MiB" in str(caught.value) and caught.value.hint
    pool.release(kept[0])
    Encoder(pool).encode(torch.zeros(1 << 20), "x")
    pool.close()


def test_a_full_device_is_an_error_and_not_a_bus_error(monkeypatch):
    def full(fd, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    pool = SegmentPool()
    with pytest.raises(CodedError) as caught:
        Encoder(pool).encode(torch.zeros(1 << 20), "x")
    assert caught.value.code == "MEMORY_FULL" and pool.usage() == (0, 0)


def test_without_anonymous_memory_a_file_does(sides, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    host, worker, _ = sides
    text, encoder = host.send(torch.arange(300_000))
    path = json.loads(text)["segment"]["path"]
    assert torch.equal(worker.take(text), torch.arange(300_000))
    host.pool.release(encoder.leases[0])
    host.pool.shrink(0)
    assert not os.path.exists(path)  # noqa: PTH110


def test_what_a_busy_moment_needed_is_given_back_while_calls_go_on(monkeypatch):
    """Segments that are used in turns are all in use."""
    now = 1000.0
    monkeypatch.setattr(segments.time, "monotonic", lambda: now)
    pool = SegmentPool()
    monkeypatch.setattr(pool, "_look_ahead", lambda size: None)
    pool.release_all_of([pool.lease(1 << 20)[0] for _ in range(12)])
    for _ in range(40):
        now += 1
        pool.release(pool.lease(1 << 20)[0])
        pool.shrink()
    assert pool.usage() == (0, 1 << 20)
    pool.close()


def test_unused_memory_is_given_back(sides):
    host, worker, _ = sides
    text, encoder = host.send(torch.zeros(1 << 20))
    inside = worker.take(text)
    del inside
    gc.collect()
    for lease in worker.mapped.let_go():
        host.pool.release(lease)
    assert host.pool.usage()[1] > 0 and encoder.leases
    host.pool.shrink(0)
    worker.mapped.settle()
    worker.mapped.forget_unused(0)
    assert host.pool.usage() == (0, 0) and not worker.mapped._parked


def test_results_that_are_kept_find_their_room_made_ahead():
    pool = SegmentPool()
    kept = [pool.lease(3 << 20) for _ in range(3)]
    until = time.monotonic() + 10
    while pool.usage()[1] == 0 and time.monotonic() < until:
        os.sched_yield() if hasattr(os, "sched_yield") else None
    assert pool.usage()[1] >= 3 << 20 and len(kept) == 3
    pool.close()


def test_a_holder_that_is_gone_holds_nothing():
    pool = SegmentPool()
    names = [pool.lease(1 << 20)[0] for _ in range(3)]
    size = pool.usage()[0] // 3
    pool.hold(names[:2], "worker#1")
    pool.release_holder("worker#1")
    assert pool.usage()[0] == size
    pool.close()


@linux
@pytest.mark.parametrize("asked", ["by a scan", "by reading"])
def test_pages_are_written_where_they_are_written(asked, monkeypatch):
    import ctypes
    import mmap

    if asked == "by a scan" and pages._scan(0, PAGE) is None:
        pytest.skip("needs Linux 6.7")
    monkeypatch.setattr(pages, "_can_scan", asked == "by a scan")
    fd = os.memfd_create("pages")
    os.posix_fallocate(fd, 0, 1 << 20)
    view = (ctypes.c_char * (1 << 20)).from_buffer(mmap.mmap(fd, 0, access=mmap.ACCESS_COPY))
    address = ctypes.addressof(view)
    assert not written(address, 1 << 20)
    assert bytes(view[5000:5001]) == b"\0" and not written(address, 1 << 20)
    view[5000] = b"x"
    assert written(address, 1 << 20) and not written(address, 4096) and not written(address + 8192, 4096)
    assert written(address + 4097, 1) and written(address + 4000, 97) and not written(address + 4000, 96)
    os.close(fd)


@pytest.mark.parametrize("size", [(1 << 31) + 7, (1 << 32) + 7], ids=["2 GiB", "4 GiB"])
def test_tensors_beyond_the_reach_of_32_bits(size):
    """One-way, in bytes."""
    side = Side()
    if side.pool.limit < 2 * size:
        pytest.skip("this machine has too little memory")
    big = torch.zeros(size, dtype=torch.uint8)
    big[-1] = 9
    text, _ = side.send(big)
    del big
    result = side.take(text)
    assert result.shape == (size,) and result[-1] == 9 and result[0] == 0
    del result
    side.pool.close()
