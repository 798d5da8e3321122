"""Tensors on a GPU. What needs one is skipped without one, and says so; what decides about it is tested anywhere."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import types

import pytest
import torch

from python_shim.wire import cuda
from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.gpu_buffers import GpuBuffers
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.segments import SegmentPool

ROOT = str(pathlib.Path(__file__).parents[2])
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

CHILD = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import torch
from python_shim.wire.decoder import Decoder
from python_shim.wire.mapping import MappedSegments
mapped = MappedSegments()
for line in sys.stdin:
    decoder = Decoder(mapped, lambda tag: None)
    try:
        tensor = decoder.decode(json.loads(line))
        text = str(tensor.cpu().tolist()) if tensor.numel() < 100 else str(float(tensor.double().sum()))
        layout = [str(tensor.device), str(tensor.dtype), list(tensor.shape), list(tensor.stride())]
        tensor.fill_(0)
        print(json.dumps([layout, text, decoder.done, decoder.from_gpu]), flush=True)
    except OSError as error:
        print(json.dumps([type(error).__name__, str(error), [], None]), flush=True)
    tensor = None
"""
SHARE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
from python_shim.wire.encoder import Encoder
from python_shim.wire.gpu_buffers import GpuBuffers
from python_shim.wire.segments import SegmentPool
encoder = Encoder(SegmentPool(), gpu="check")
print(json.dumps(encoder.encode(torch.arange(1000.0, device="cuda"), "x")), flush=True)
sys.stdin.read()
"""


class Receiver:
    """Another process, which decodes, writes into what it got, and says what that was."""

    def __init__(self):
        args = [sys.executable, "-c", CHILD, ROOT]
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def take(self, tag):
        self.process.stdin.write(json.dumps(tag) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def pool():
    made = SegmentPool()
    yield made
    made.close()


def like_torch(hip=None):
    return types.SimpleNamespace(version=types.SimpleNamespace(hip=hip))


def on(device):
    return types.SimpleNamespace(device=types.SimpleNamespace(type=device))


@pytest.mark.skipif(sys.platform != "linux", reason="CUDA IPC is Linux's")
def test_what_is_on_no_gpu_of_nvidia_goes_through_main_memory():
    assert cuda.usable(like_torch(), on("cuda"))
    assert not cuda.usable(like_torch(), on("cpu"))
    assert not cuda.usable(like_torch(hip="6.2"), on("cuda"))


class NoDriver:
    """Counts what a driver would allot."""

    def __init__(self):
        self.taken, self.room, self.count = {}, 1 << 40, 0

    def allocate(self, device, nbytes, spare):
        if sum(self.taken.values()) + nbytes + spare > self.room:
            raise OSError("full")
        self.count += 1
        self.taken[self.count] = nbytes
        return self.count

    def free(self, device, address):
        del self.taken[address]


def test_buffers_are_used_again_and_given_back():
    driver = NoDriver()
    buffers = GpuBuffers(driver)
    first, second = buffers.take(0, 40 << 20), buffers.take(0, 40 << 20)
    address = first.address
    assert second.address != address
    del first
    assert buffers.take(1, 40 << 20).address != address  # of another GPU
    assert buffers.take(0, 1000).address != address  # too large for that
    assert buffers.take(0, 39 << 20).address == address
    buffers.shrink()
    assert 40 << 20 < sum(driver.taken.values()) <= (40 + 128) << 20
    buffers.shrink(0)
    assert list(driver.taken) == [second.address]
    driver.room = 1 << 29
    with pytest.raises(OSError, match="full"):
        buffers.take(0, 1 << 20)


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(cuda.GpuRefused, match="cannot be opened"):
        cuda.receive(torch, {"uuid": "none", "handle": "", "offset": 0, "check": None}, 1, torch.float32)


def test_a_tensor_of_a_gpu_that_the_receiver_lacks_arrives_on_the_cpu(pool):
    tag = Encoder(pool).encode(torch.ones(3), "x")
    assert Decoder(MappedSegments(), lambda tag: None).decode({**tag, "device": "cuda:77"}).device.type == "cpu"


def some(kind):
    made = torch.arange(2 * 3 * 4 * 2, dtype=torch.float32, device="cuda").reshape(2, 3, 4, 2)
    return {
        "whole": lambda: made,
        "slice": lambda: made.flatten()[10:40],
        "turned": lambda: made.permute(3, 1, 0, 2),
        "channels last": lambda: made.contiguous(memory_format=torch.channels_last),
        "bfloat16": lambda: made.to(torch.bfloat16),
        "float8": lambda: made.to(torch.float8_e4m3fn),
        "bool": lambda: made > 7,
        "complex": lambda: torch.complex(made, -made),
        "one number": lambda: made[1, 2, 3, 1],
        "every second": lambda: made.flatten()[::2],
        "large": lambda: torch.arange(3_000_000, dtype=torch.float32, device="cuda"),
    }[kind]()


KINDS = ["whole", "slice", "turned", "channels last", "bfloat16", "float8", "bool", "complex", "one number", "every second", "large"]


@needs_gpu
@pytest.mark.parametrize("gpu", ["check", "yes", None])
@pytest.mark.parametrize("kind", KINDS)
def test_another_process_gets_a_copy_of_its_own_on_the_gpu(kind, gpu, receiver, pool):
    tensor = some(kind)
    before = tensor.clone()
    encoder = Encoder(pool, gpu=gpu)
    layout, text, done, from_gpu = receiver.take(encoder.encode(tensor, "x"))
    strides = list(tensor.stride()) if kind == "channels last" else list(torch.empty(tensor.shape).stride())
    assert layout == [str(tensor.device), str(tensor.dtype), list(tensor.shape), strides]
    assert text == (str(before.cpu().tolist()) if before.numel() < 100 else str(float(before.double().sum())))
    assert torch.equal(tensor.view(torch.uint8) if kind == "float8" else tensor, before.view(torch.uint8) if kind == "float8" else before)
    assert (done, from_gpu, encoder.on_gpu) == ((encoder.leases, True, True) if gpu else ([], False, False))


@needs_gpu
@pytest.mark.parametrize("harm", [{"check": "AAAA"}, {"uuid": "00"}, {"handle": "A" * 86 + "=="}])
def test_what_cannot_be_opened_or_holds_other_bytes_is_refused(harm, receiver, pool):
    tag = Encoder(pool, gpu="check").encode(torch.ones(1000, device="cuda"), "x")
    assert receiver.take({**tag, **harm})[0] == "GpuRefused"
    assert receiver.take(tag)[2] == [tag["lease"]]  # and the next is taken


@needs_gpu
@pytest.mark.parametrize("settings", ["", "backend:cudaMallocAsync", "expandable_segments:True"])
def test_whatever_torch_allots_with_it_is_handed_over(settings, receiver):
    env = {**os.environ, "PYTORCH_CUDA_ALLOC_CONF": settings}
    sender = subprocess.Popen([sys.executable, "-c", SHARE, ROOT], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    answer = receiver.take(json.loads(sender.stdout.readline()))
    sender.communicate("done")
    assert answer[1] == str(float(sum(range(1000)))) and answer[3] is True


@needs_gpu
def test_nothing_is_kept_of_what_was_handed_over_also_when_the_receiver_is_killed(receiver, pool):
    def hand(to):
        encoder = Encoder(pool, gpu="check")
        encoder_tag = encoder.encode(torch.ones(8 << 20, device="cuda"), "x")
        answer = to.take(encoder_tag)
        for lease in encoder.leases:
            pool.release(lease)
        return answer

    names = set(os.listdir("/dev/shm"))
    hand(receiver)
    free, _ = torch.cuda.mem_get_info()
    held = torch.cuda.memory_allocated()
    for _ in range(300):
        hand(receiver)
    doomed = Receiver()
    hand(doomed)
    tag = Encoder(pool, gpu="check").encode(torch.ones(8 << 20, device="cuda"), "x")
    doomed.process.kill()  # it may have the tensor, or not
    doomed.close()
    pool.release(tag["lease"])
    assert torch.cuda.memory_allocated() == held
    assert free - torch.cuda.mem_get_info()[0] < 64 << 20
    assert set(os.listdir("/dev/shm")) == names


@needs_gpu
def test_a_segment_is_pinned_once_and_let_go_again(pool):
    for _ in range(3):
        encoder = Encoder(pool)
        tag = encoder.encode(torch.full((1 << 20,), 3.0, device="cuda"), "x")
        assert float(Decoder(MappedSegments(), lambda tag: None).decode({**tag, "device": None}).sum()) == 3 << 20
        pool.release(encoder.leases[0])
    pool.shrink(0)
    assert torch.ones(1, device="cuda").item() == 1  # the driver has no error left
